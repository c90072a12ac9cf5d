"""Labels of a database of label sets that are of this atlas's own model also stand beside labels by people."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from neuron_atlas.adapters.files import file_sha256, make_folder, write_parquet
from neuron_atlas.adapters.labels.label_store import ImportResult, open_label_store
from neuron_atlas.adapters.neuron_db.transluce import Fetched, Page
from neuron_atlas.cli.publication.import_databases import Copied, join_own, print_joined
from neuron_atlas.core.records import ModelSpec
from neuron_atlas.settings import Settings

OWN = ModelSpec("small-world", "rev-1", "llama", 6, 384, 8, 10, "float32")
COLUMNS = {
    "neurons": {"id": pl.String, "model_id": pl.String, "layer": pl.Int32, "neuron": pl.Int32, "expert": pl.Int32},
    "descriptions": {
        "id": pl.String, "neuron_id": pl.String, "polarity": pl.Int8, "version": pl.String, "description": pl.String,
        "description_cleaned": pl.String, "description_summary": pl.String, "description_metadata": pl.String,
    },
}  # fmt: skip


def copied(folder: Path) -> Copied:
    """One neuron of this model, described twice on one side; on the other by what may not stand; and one of another model."""
    rows: dict[str, list[tuple[object, ...]]] = {
        "neurons": [("a", "small-world", 3, 7, None), ("b", "other", 3, 8, None)],
        "descriptions": [
            ("1", "a", 1, "v1", "names of rivers", None, None, None),
            ("0", "a", 1, "v0", "names of brooks", None, None, None),
            ("2", "a", -1, "v1", "see https://evil.example", None, None, None),
            ("3", "b", 1, "v1", "names of lakes", None, None, None),
        ],
    }
    pages: dict[str, list[Page]] = {}
    for name, columns in COLUMNS.items():
        path = make_folder(folder / name) / "000000.parquet"
        write_parquet(pl.DataFrame(rows[name], schema=columns, orient="row"), path)
        pages[name] = [Page(file=path.name, rows=len(rows[name]), sha256=file_sha256(path), last="")]
    return Copied(folder, Fetched(pages=pages, whole=list(pages)), frozenset({"small-world", "other"}))


def test_labels_of_this_model_join_and_those_of_others_do_not(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", _env_file=None)
    done = join_own(copied(tmp_path), OWN, settings)
    assert done is not None
    assert (done.added, done.unchanged, done.refused) == (1, 0, 1)
    with open_label_store(settings.labels) as store:
        rows = store.rows("input", 3, model_revision="rev-1")
    assert rows.select("neuron", "labeler", "version", "label").rows() == [
        (7, "import", "transluce v1", "names of rivers")
    ]
    again = join_own(copied(tmp_path), OWN, settings)
    assert again is not None
    assert (again.added, again.unchanged) == (0, 1)


def test_a_database_of_other_models_leaves_the_labels_alone(tmp_path: Path) -> None:
    other = ModelSpec("third", "rev-1", "llama", 6, 384, 8, 10, "float32")
    settings = Settings(home=tmp_path / "home", _env_file=None)
    assert join_own(copied(tmp_path), other, settings) is None
    assert not settings.labels.exists()


def test_what_was_left_out_is_counted_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    print_joined(
        "neuronpedia",
        ImportResult(added=2, unchanged=1, refused=1, reasons=("L9/N9 is no neuron",)),
        ["line 4: no JSON"],
    )
    said = capsys.readouterr().out
    assert "2 labels added, 1 were already there" in said
    assert "2 left out, for example:" in said
    assert said.index("line 4: no JSON") < said.index("L9/N9 is no neuron")
