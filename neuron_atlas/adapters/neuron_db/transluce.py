"""Importing a NeuronDB of Transluce (github.com/TransluceAI/observatory): descriptions, quantiles and exemplars of a model.

Its tables have text keys; descriptions are in `descriptions_launch_241020`, or another table of that form. They are first copied to
local files, page by page in key order, each with its checksum: an interrupted import goes on after the last whole page, and at
the end the rows are counted against the source. Then they are converted to a label set:

- exemplars were what its descriptions were written from, so they say what makes a neuron fire: they become labels of side input,
  labeler `import`; the summary (or the cleaned, or the raw text) becomes the label, the longer text the label's description;
- `score` is the correlation of simulated activations, whose chance level is 0, so it is its own corrected score;
- vectors are not taken, since they are of another embedder: labels are embedded again;
- where a quantile is missing, only that quantile is: the neuron keeps its labels;
- experts of mixtures have no place in (layer, neuron): their rows are left out and counted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isclose, isfinite
from pathlib import Path
from typing import Literal

import polars as pl
from psycopg import sql
from pydantic import BaseModel

from neuron_atlas.adapters.files import file_sha256, make_folder, write_atomically, write_parquet
from neuron_atlas.adapters.postgres import Connection, Server
from neuron_atlas.core.hashing import content_hash
from neuron_atlas.core.labeling.labelers.imported import ImportedLabel, as_label
from neuron_atlas.core.publication.search.label_records import LABEL_RECORD
from neuron_atlas.core.publication.search.label_set_contents import (
    EXEMPLAR,
    QUANTILE,
    LabelSetContents,
    SizedModel,
    checked_contents,
)
from neuron_atlas.core.records import NeuronId
from neuron_atlas.core.tables import QUANTILE_LEVELS
from neuron_atlas.errors import BadInput, Incomplete

PAGE = 20_000
"""Rows fetched, and kept, at a time."""
ORIGIN = "transluce"
_COLUMNS: dict[str, dict[str, pl.DataType]] = {
    "neurons": {
        "id": pl.String(), "model_id": pl.String(), "layer": pl.Int32(), "neuron": pl.Int32(), "expert": pl.Int32(),
    },
    "descriptions": {
        "id": pl.String(), "neuron_id": pl.String(), "polarity": pl.Int8(), "version": pl.String(),
        "description": pl.String(), "description_cleaned": pl.String(), "description_summary": pl.String(),
        "description_metadata": pl.String(),
    },
    "quantiles": {"id": pl.String(), "neuron_id": pl.String(), "quantiles": pl.String()},
    "exemplars": {
        "id": pl.String(), "neuron_id": pl.String(), "polarity": pl.Int8(), "text": pl.String(),
        "activation_value": pl.Float64(), "rank": pl.Int32(),
    },
}  # fmt: skip
_JSON = ("description_metadata", "quantiles")
Progress = Callable[[str, int, int], None]
"""Table, rows so far, rows in all."""


class Page(BaseModel):
    """One fetched page: its file, and the key it ends with."""

    file: str
    rows: int
    sha256: str
    last: str


class _Metadata(BaseModel):
    """The one documented key of a description's metadata."""

    score: float | None = None


class Fetched(BaseModel):
    """What is on disk of a source: pages by table, and the tables that are whole."""

    pages: dict[str, list[Page]]
    whole: list[str]

    def rows(self, table: str) -> int:
        """Rows of a table that are on disk."""
        return sum(page.rows for page in self.pages.get(table, []))


@dataclass(frozen=True, slots=True)
class ConvertedSource:
    """What an import found: the contents by label version, and how many rows could not be converted (experts, orphans)."""

    contents: tuple[LabelSetContents, ...]
    left_out: int


# ------------------------------------------------------------------------------------------------------------------- fetching
def fetch(server: Server, folder: Path, *, progress: Progress | None = None, page: int = PAGE) -> Fetched:
    """Copy the source's tables into `folder`, going on after the pages that are there and whole.

    Raises `BadInput` when the database is no Transluce NeuronDB, `Incomplete` when the source changed meanwhile, and what a
    connection raises; what was fetched stays for the next call.
    """
    names = server.run(_tables, read_only=True)
    fetched = _verified(folder)
    for table, name in names.items():
        (total,) = server.run(
            lambda c, name=name: _one(c, sql.SQL("select count(*) from {}").format(name)), read_only=True
        )
        make_folder(folder / table)
        while table not in fetched.whole:
            held = fetched.pages.setdefault(table, [])
            last = held[-1].last if held else ""
            rows = server.run(lambda c, t=table, n=name, last=last: _page(c, t, n, last, page), read_only=True)
            if rows.is_empty():
                fetched.whole.append(table)
            else:
                path = folder / table / f"{len(held):06}.parquet"
                write_parquet(rows, path)
                held.append(Page(file=path.name, rows=rows.height, sha256=file_sha256(path), last=rows["id"][-1]))
            write_atomically(folder / "fetched.json", fetched.model_dump_json())
            if progress is not None:
                progress(table, fetched.rows(table), int(total))
        if fetched.rows(table) != total:
            raise Incomplete(
                f"{table} of {server.where} has {total} rows, {fetched.rows(table)} were copied: it changed meanwhile. "
                f"Remove {folder} and import again"
            )
    return fetched


def _tables(connection: Connection) -> dict[str, sql.Identifier]:
    """Our name of each table to the source's. The descriptions' table is found by its columns."""
    rows = connection.execute(
        "select table_name, column_name from information_schema.columns where table_schema = current_schema()"
    ).fetchall()
    columns: dict[str, set[str]] = {}
    for table, column in rows:
        columns.setdefault(str(table), set()).add(str(column))
    found: dict[str, str] = {}
    for name, needed in _COLUMNS.items():
        fitting = [t for t in sorted(columns) if t.startswith(name) and set(needed) <= columns[t]]
        if not fitting:
            raise BadInput(
                f"this database has no table {name!r} with columns {', '.join(needed)}; expected a NeuronDB of Transluce. "
                f"Its tables: {', '.join(sorted(columns)) or 'none'}"
            )
        if len(fitting) > 1:
            raise BadInput(f"several tables could be {name}: {', '.join(fitting)}; leave one in the schema")
        found[name] = fitting[0]
    return {name: sql.Identifier(table) for name, table in found.items()}


def _page(connection: Connection, table: str, name: sql.Identifier, last: str, page: int) -> pl.DataFrame:
    schema = _COLUMNS[table]
    selected = [sql.SQL("{}::text").format(sql.Identifier(c)) if c in _JSON else sql.Identifier(c) for c in schema]
    query = sql.SQL("select {} from {} where id > %s order by id limit %s").format(sql.SQL(", ").join(selected), name)
    return pl.DataFrame(connection.execute(query, [last, page]).fetchall(), schema=schema, orient="row")


def _verified(folder: Path) -> Fetched:
    """What is on disk and unharmed; a damaged page and all after it are fetched again."""
    path = folder / "fetched.json"
    if not path.exists():
        return Fetched(pages={}, whole=[])
    fetched = Fetched.model_validate_json(path.read_bytes())
    for table, pages in fetched.pages.items():
        for place, page in enumerate(pages):
            file = folder / table / page.file
            if not file.is_file() or file_sha256(file) != page.sha256:
                del pages[place:]
                fetched.whole = [name for name in fetched.whole if name != table]
                break
    return fetched


def _one(connection: Connection, query: sql.Composed) -> tuple[int]:
    row = connection.execute(query).fetchone()
    assert row is not None
    return (int(row[0]),)


# ---------------------------------------------------------------------------------------------------------------- converting
def read_fetched(folder: Path, fetched: Fetched) -> ConvertedSource:
    """The contents of a fetched source, one for each model and label version. Raises `Incomplete` when it is not whole."""
    missing = [table for table in _COLUMNS if table not in fetched.whole]
    if missing:
        raise Incomplete(f"{', '.join(missing)} of the source are not copied yet; import again to continue")
    tables = {table: _frame(folder, table, fetched) for table in _COLUMNS}
    neurons = (
        tables["neurons"]
        .filter(pl.col("expert").is_null())
        .select(neuron_id="id", model_id="model_id", layer="layer", neuron="neuron")
    )
    joined = {
        name: tables[name].join(neurons, on="neuron_id", how="inner")
        for name in ("descriptions", "quantiles", "exemplars")
    }
    left_out = sum(tables[name].height - frame.height for name, frame in joined.items())
    contents: list[LabelSetContents] = []
    for (model_id,), mine in neurons.group_by("model_id", maintain_order=True):
        model = _model(str(model_id), mine)
        of_model = {name: frame.filter(pl.col("model_id") == model_id) for name, frame in joined.items()}
        for (version,), told in of_model["descriptions"].group_by("version", maintain_order=True):
            frames = {
                "descriptions": _label_records(told),
                "neurons": mine.select(
                    "layer", "neuron", cluster_path=pl.lit(None, pl.String), cluster_label=pl.lit(None, pl.String)
                ),
                "quantiles": _quantiles(of_model["quantiles"]),
                "exemplars": _exemplars(of_model["exemplars"]),
            }
            contents.append(checked_contents(model, f"{ORIGIN} {version}", frames))
    return ConvertedSource(tuple(contents), left_out)


def foreign_labels(folder: Path, fetched: Fetched, *, model_id: str) -> Iterator[ImportedLabel]:
    """The descriptions of one model as foreign labels: of each neuron and polarity, that of the last version by name."""
    neurons = _frame(folder, "neurons", fetched).filter(pl.col("expert").is_null(), pl.col("model_id") == model_id)
    told = _frame(folder, "descriptions", fetched).join(neurons.rename({"id": "neuron_id"}), on="neuron_id")
    last = told.sort("version", "id").unique(("layer", "neuron", "polarity"), keep="last").sort("layer", "neuron", "id")
    yield from map(_foreign, last.iter_rows(named=True))


def _foreign(row: dict[str, object]) -> ImportedLabel:
    long = str(row["description_cleaned"] or row["description"])
    polarity: Literal[1, -1] = 1 if row["polarity"] == 1 else -1
    at = NeuronId(int(str(row["layer"])), int(str(row["neuron"])))
    text = str(row["description_summary"] or long)
    return ImportedLabel(at, polarity, "input", text, ORIGIN, str(row["version"]), "" if text == long else long)


def _label_records(told: pl.DataFrame) -> pl.DataFrame:
    rows: list[dict[str, object]] = []
    for row in told.iter_rows(named=True):
        foreign, score = _foreign(row), _score(row["description_metadata"])
        stored: dict[str, object] = {
            "layer": foreign.neuron.layer, "neuron": foreign.neuron.neuron, "polarity": foreign.polarity, "side": "input",
            "labeler": "import", "labeler_version": f"{ORIGIN} {foreign.author}", "is_preferred": True, "direction": 1,
            "type": "unknown", "tokens": [], "evidence_hash": content_hash([row["id"], row["description"]]),
            "metric": None if score is None else "simulation", "score": score, "measured": score,
        }  # fmt: skip
        try:
            label = as_label(foreign)
            stored |= {"label": label.label, "description": label.description or row["description"], "type": label.type}
        except BadInput as error:
            stored |= {"unlabeled_reason": str(error)}
        rows.append(stored)
    return pl.DataFrame(rows, schema=LABEL_RECORD)


def _score(metadata: object) -> float | None:
    """The score in a description's metadata; None when there is none."""
    if not isinstance(metadata, str):
        return None
    score = _Metadata.model_validate_json(metadata).score
    return score if score is not None and isfinite(score) else None


def _quantiles(frame: pl.DataFrame) -> pl.DataFrame:
    def values(text: str) -> list[float | None]:
        held = {float(level): value for level, value in json.loads(text).items()}
        return [
            next((v for level, v in held.items() if isclose(level, wanted, rel_tol=1e-9)), None)
            for wanted in QUANTILE_LEVELS
        ]

    return frame.select(
        "layer", "neuron", corpus=pl.lit(ORIGIN), n_tokens=pl.lit(0), density_positive=pl.lit(0.0), density_negative=pl.lit(0.0),
        quantiles=pl.Series([values(text) for text in frame["quantiles"]], dtype=pl.List(pl.Float32)),
    ).select(pl.col(name).cast(dtype) for name, dtype in QUANTILE.items())  # fmt: skip


def _exemplars(frame: pl.DataFrame) -> pl.DataFrame:
    value = pl.col("activation_value").cast(pl.Float32)
    return frame.select(
        "layer", "neuron", "polarity", "rank", corpus=pl.lit(ORIGIN), kind=pl.lit("top"),
        text_id=pl.col("text").map_elements(lambda text: content_hash(text)[:16], pl.String),
        tokens=pl.concat_list("text"), activations=pl.concat_list(value), peak_position=pl.lit(0), peak_activation=value,
    ).select(pl.col(name).cast(dtype) for name, dtype in EXEMPLAR.items())  # fmt: skip


def _model(model_id: str, neurons: pl.DataFrame) -> SizedModel:
    """The model by its name; which revision of it was described, the source does not say."""
    layers, width = neurons["layer"].max(), neurons["neuron"].max()
    assert isinstance(layers, int)
    assert isinstance(width, int)
    return SizedModel(model_id, f"{ORIGIN}:{model_id}", layers + 1, width + 1)


def _frame(folder: Path, table: str, fetched: Fetched) -> pl.DataFrame:
    pages = [pl.read_parquet(folder / table / page.file) for page in fetched.pages.get(table, [])]
    return pl.concat([pl.DataFrame(schema=_COLUMNS[table]), *pages])
