"""Out to files and back, and in from a NeuronDB of Transluce: nothing lost, nothing half, and an interruption costs a page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neuron_atlas.adapters.neuron_db import load_label_set, load_labels, open_neuron_db
from neuron_atlas.adapters.neuron_db import transluce as transluce_module
from neuron_atlas.adapters.neuron_db.export import Form, read_export, read_label_set, write_export
from neuron_atlas.adapters.neuron_db.transluce import Fetched, fetch, foreign_labels, read_fetched
from neuron_atlas.adapters.postgres import Server, ensure_database, ensure_vector
from neuron_atlas.core.publication.search.search_query import LabelConditions
from neuron_atlas.core.records import ModelSpec, Tables
from neuron_atlas.core.tables import QUANTILE_LEVELS
from neuron_atlas.errors import BadInput, DamagedData, Incomplete
from neuron_atlas_tests.adapters.neuron_db.conftest import WordEmbedder
from neuron_atlas_tests.adapters.neuron_db.test_load import everything


# ------------------------------------------------------------------------------------------------------------- export and back
@pytest.fixture
def loaded(database: Server, tables: Tables, model: ModelSpec, embedder: WordEmbedder) -> Server:
    load_labels(database, model=model, version="v1", tables=tables, embedder=embedder)
    return database


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_what_is_exported_and_imported_is_what_was_there(
    server: Server, loaded: Server, tmp_path: Path, embedder: WordEmbedder, form: Form
) -> None:
    with loaded.connect(read_only=True) as connection:
        manifest = write_export(read_label_set(connection), tmp_path / "out", form=form)
    assert {name: entry.rows for name, entry in manifest.files.items()} == {
        "descriptions": 5,
        "neurons": 4,
        "quantiles": 1,
        "exemplars": 2,
    }
    other = ensure_database(server, f"imported_{form}")
    load_label_set(other, read_export(tmp_path / "out"), embedder=embedder)
    assert everything(other) == everything(loaded)


def test_an_import_of_what_is_there_changes_nothing(loaded: Server, tmp_path: Path, embedder: WordEmbedder) -> None:
    with loaded.connect(read_only=True) as connection:
        write_export(read_label_set(connection), tmp_path / "out")
    assert not load_label_set(loaded, read_export(tmp_path / "out"), embedder=embedder).is_new


def test_a_damaged_or_unfinished_copy_is_named(loaded: Server, tmp_path: Path) -> None:
    with loaded.connect(read_only=True) as connection:
        write_export(read_label_set(connection), tmp_path / "out")
    file = tmp_path / "out" / "descriptions.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[:-10])
    with pytest.raises(DamagedData, match=rf"descriptions.parquet has {len(whole) - 10} of {len(whole)} bytes"):
        read_export(tmp_path / "out")
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DamagedData, match="its sha256 differs"):
        read_export(tmp_path / "out")
    file.unlink()
    with pytest.raises(DamagedData, match=r"descriptions\.parquet is missing"):
        read_export(tmp_path / "out")


def test_folders_that_are_no_place_for_an_export_or_no_export_are_refused(loaded: Server, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with loaded.connect(read_only=True) as connection:
        contents = read_label_set(connection)
    with pytest.raises(BadInput, match="exists already"):
        write_export(contents, tmp_path / "full")
    with pytest.raises(BadInput, match="is no export of a label set"):
        read_export(tmp_path / "full")


def test_a_manifest_cannot_lead_out_of_its_folder(loaded: Server, tmp_path: Path) -> None:
    with loaded.connect(read_only=True) as connection:
        write_export(read_label_set(connection), tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    manifest["files"]["neurons"]["name"] = "../out/neurons.parquet"
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BadInput, match="is no file name"):
        read_export(tmp_path / "out")


# ------------------------------------------------------------------------------------------------------------------ Transluce's
KEYS = ("0.9999999", "1e-07", "0.999999", "1e-06", "0.99999", "1e-05", "0.9999", "0.0001")
IMITATION = """
create table language_models (id varchar(255) primary key);
create table neurons (id varchar(255) primary key, model_id varchar(255) not null references language_models,
    layer integer not null, neuron integer not null, expert integer);
create table descriptions_launch_241020 (id varchar(255) primary key, neuron_id varchar(255) not null references neurons,
    polarity integer not null, version text not null, description text not null, description_cleaned text,
    description_summary text, description_embedding vector(3) not null, description_metadata jsonb, is_interesting boolean);
create table quantiles (id varchar(255) primary key, neuron_id varchar(255) not null references neurons, quantiles jsonb not null);
create table exemplars (id varchar(255) primary key, neuron_id varchar(255) not null references neurons, polarity integer not null,
    text text not null, activation_value double precision not null, rank integer not null);
insert into language_models values ('meta-llama/Llama'), ('mixture');
insert into neurons select format('meta-llama/Llama_%s_%s_None', l, n), 'meta-llama/Llama', l, n from generate_series(0, 1) l,
    generate_series(0, 2) n;
insert into neurons values ('mixture_0_0_3', 'mixture', 0, 0, 3);
insert into descriptions_launch_241020 values
    ('a', 'meta-llama/Llama_0_1_None', 1, 'v1', 'activates on names of rivers such as the Rhine',
     'names of rivers such as the Rhine', 'names of rivers', '[1,0,0]', '{"score": 0.5}', true),
    ('b', 'meta-llama/Llama_0_1_None', -1, 'v1', 'plural verbs', null, null, '[1,0,0]', '{}', null),
    ('c', 'meta-llama/Llama_1_2_None', 1, 'v1', 'see https://example.com/x', null, null, '[1,0,0]', null, null),
    ('d', 'meta-llama/Llama_0_1_None', 1, 'v2', 'bodies of running water', null, null, '[1,0,0]', '{"score": 0.75}', true),
    ('e', 'mixture_0_0_3', 1, 'v1', 'an expert', null, null, '[1,0,0]', null, null);
insert into exemplars values ('a0', 'meta-llama/Llama_0_1_None', 1, 'along the {{Rhine}}', 3.5, 0),
    ('a1', 'meta-llama/Llama_0_1_None', 1, 'the {{Po}} valley', 2.5, 1);
"""


@pytest.fixture(scope="module")
def foreign(server: Server) -> Server:
    """A tiny database with the tables of a Transluce NeuronDB."""
    source = ensure_database(server, "transluce")
    with source.connect() as connection:
        ensure_vector(connection)
        connection.execute(IMITATION)
        values = json.dumps({key: i for i, key in enumerate(KEYS)})
        connection.execute("insert into quantiles values ('q', 'meta-llama/Llama_0_1_None', %s)", [values])
    return source


@pytest.fixture
def imported(foreign: Server, database: Server, tmp_path: Path, embedder: WordEmbedder) -> Server:
    taken = read_fetched(tmp_path, fetch(foreign, tmp_path))
    assert taken.left_out == 1
    for contents in taken.contents:
        load_label_set(database, contents, embedder=embedder)
    return database


def test_every_model_and_version_becomes_a_label_set(imported: Server) -> None:
    sets = open_neuron_db(imported).label_sets()
    assert [(s.model_id, s.version, s.n_descriptions, s.n_unlabeled) for s in sets] == [
        ("meta-llama/Llama", "transluce v1", 2, 1),
        ("meta-llama/Llama", "transluce v2", 1, 0),
    ]


def test_descriptions_keep_their_words_and_scores(imported: Server) -> None:
    with open_neuron_db(imported, embedder=WordEmbedder()) as neuron_db:
        verbs, rivers, link = neuron_db.query(version="transluce v1")
        assert (rivers.label, rivers.description, rivers.score, rivers.metric) == (
            "names of rivers",
            "names of rivers such as the Rhine",
            0.5,
            "simulation",
        )
        assert (verbs.polarity, verbs.label, verbs.score, verbs.metric) == (-1, "plural verbs", None, None)
        assert link.label is None
        assert "cannot be taken over" in str(link.unlabeled_reason)
        assert {row.side for row in (rivers, verbs, link)} == {"input"}
        hits = neuron_db.search("rivers", version="transluce v1", filters=LabelConditions(min_score=0.4)).hits
        assert [str(hit.id) for hit in hits] == ["L0/N1"]


def test_a_neuron_without_quantiles_keeps_its_descriptions(imported: Server) -> None:
    """The published view joins quantiles inwardly, so such a neuron loses its descriptions there."""
    with open_neuron_db(imported) as neuron_db:
        bare = neuron_db.neuron("L1/N2", version="transluce v1")
        assert (bare.descriptions.height, bare.quantiles.height) == (1, 0)
        known = neuron_db.neuron("L0/N1", version="transluce v1")
    held = dict(zip(QUANTILE_LEVELS, known.quantiles["quantiles"][0], strict=True))
    assert {level: value for level, value in held.items() if value is not None} == {
        next(level for level in QUANTILE_LEVELS if abs(level - float(key)) < 1e-12): i for i, key in enumerate(KEYS)
    }
    assert known.exemplars["tokens"].to_list() == [["along the {{Rhine}}"], ["the {{Po}} valley"]]


def test_an_interrupted_fetch_goes_on_after_its_last_page(
    foreign: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read_fetched(tmp_path / "whole", fetch(foreign, tmp_path / "whole"))
    asked: list[tuple[str, str]] = []
    page = transluce_module._page

    def failing(connection, table, name, last, size):
        asked.append((table, last))
        if len(asked) == 5:
            raise KeyboardInterrupt
        return page(connection, table, name, last, size)

    monkeypatch.setattr(transluce_module, "_page", failing)
    with pytest.raises(KeyboardInterrupt):
        fetch(foreign, tmp_path / "cut", page=2)
    with pytest.raises(Incomplete, match="are not copied yet; import again to continue"):
        read_fetched(tmp_path / "cut", Fetched.model_validate_json((tmp_path / "cut" / "fetched.json").read_bytes()))
    before, asked[:] = list(asked), []
    asked.extend([("", "")] * 10)  # beyond the fifth, nothing fails any more
    fetched = fetch(foreign, tmp_path / "cut", page=2)
    assert not set(asked[10:]) & set(before[:4])
    resumed = read_fetched(tmp_path / "cut", fetched)
    for one, other in zip(whole.contents, resumed.contents, strict=True):
        assert all(frame.equals(other.frames()[name]) for name, frame in one.frames().items())


def test_a_page_that_was_damaged_is_fetched_again(foreign: Server, tmp_path: Path) -> None:
    fetch(foreign, tmp_path, page=2)
    (tmp_path / "neurons" / "000001.parquet").write_bytes(b"torn")
    fetched = fetch(foreign, tmp_path, page=2)
    assert fetched.rows("neurons") == 7
    assert read_fetched(tmp_path, fetched).contents


def test_progress_counts_rows_of_all_rows(foreign: Server, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    fetch(foreign, tmp_path, progress=lambda *now: seen.append(now), page=4)
    assert [now for now in seen if now[0] == "neurons"] == [("neurons", 4, 7), ("neurons", 7, 7), ("neurons", 7, 7)]


def test_another_database_is_refused_with_its_tables(database: Server, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no table 'neurons' with columns .*expected a NeuronDB of Transluce"):
        fetch(database, tmp_path)


def test_descriptions_can_be_had_as_foreign_labels_of_the_last_version(foreign: Server, tmp_path: Path) -> None:
    fetched = fetch(foreign, tmp_path)
    labels = list(foreign_labels(tmp_path, fetched, model_id="meta-llama/Llama"))
    assert [(str(label.neuron), label.polarity, label.text, label.author) for label in labels] == [
        ("L0/N1", -1, "plural verbs", "v1"),
        ("L0/N1", 1, "bodies of running water", "v2"),
        ("L1/N2", 1, "see https://example.com/x", "v1"),
    ]
    assert {label.origin for label in labels} == {"transluce"}
