"""Building an atlas: into `<path>.building`, checked, flushed, swapped in by one rename.

A reader of the old file keeps it to the end; a killed build leaves `<path>.building` behind, which the next build removes. One
build at a time: a lock on a file beside the atlas, which the system drops with the process that holds it. The same tables give
the same content (`table_hashes`), so nothing in the file says when it was built.

The atlas' edges have no index: they lie in the order of their sources, and finding a neuron's edges among ten million takes some
20 to 50 milliseconds by scanning; with an index it took no less, and the file was more than twice as large.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl

from neuron_atlas.adapters.atlas_duckdb.integrity_checks import check_integrity
from neuron_atlas.adapters.atlas_duckdb.schema import (
    ATLAS_VERSION,
    GRAPH_KEY,
    PUBLISHED,
    REQUIRED,
    duckdb_type,
    open_read_only,
    sql_text,
    statement,
)
from neuron_atlas.adapters.atlas_duckdb.search_index import write_label_index, write_neuron_index
from neuron_atlas.adapters.files import make_folder, replace_durably
from neuron_atlas.core.labeling.evidence.shown_label import best_scores, first_shown
from neuron_atlas.core.ports import Embedder
from neuron_atlas.core.records import Tables
from neuron_atlas.core.tables import GRAPHS, Table
from neuron_atlas.errors import BadInput, Incomplete, PermanentError, TransientError

DERIVED = ("neuron_labels", "vocabulary", "neurons", "edges")
"""Statements run in order once the tables are in."""


@dataclass(frozen=True, slots=True)
class AtlasReport:
    """What a build put where: rows per table, tables that were not given, size in bytes."""

    path: Path
    rows: Mapping[str, int]
    missing: tuple[str, ...]
    bytes: int


def build_atlas(
    path: str | Path, tables: Tables, *, facts: Mapping[str, str], embedder: Embedder | None = None
) -> AtlasReport:
    """Build the atlas of `tables` (by their names in `core/tables`) and put it at `path` in one step.

    `facts` go into `metadata` beside the counts; `n_layers` and `n_neurons`, where given, bound the neurons' numbers. `embedder`
    makes labels searchable by meaning; without one they can be searched by words. Raises
    `Incomplete` without edge_stats and neuron_profiles, `DamagedData` when tables contradict each other, `TransientError`
    when another build of this path runs, `PermanentError` when the disk is full or fails. Whenever it raises, the old
    atlas stays as it was.
    """
    from filelock import FileLock, Timeout  # only builders need it: readers start without

    path = Path(path)
    given = _named(tables)
    _refuse_bad_input(path, given, facts)
    make_folder(path.parent)
    try:
        with FileLock(path.with_name(f".{path.name}.lock"), blocking=False):
            rows = _build_and_swap(path, given, facts, embedder)
    except Timeout as error:
        raise TransientError(f"another process is building {path}; wait for it and build again") from error
    return AtlasReport(path, rows, tuple(name for name in PUBLISHED if name not in given), path.stat().st_size)


def _build_and_swap(
    path: Path, given: Mapping[str, pl.LazyFrame], facts: Mapping[str, str], embedder: Embedder | None
) -> dict[str, int]:
    """Build beside `path` and rename the finished file to it; returns rows per table."""
    building = path.with_name(path.name + ".building")
    _remove(building)
    try:
        rows = _fill(building, given, facts, embedder)
        open_read_only(building).close()
        replace_durably(building, path)
    except (OSError, duckdb.IOException, duckdb.FatalException, duckdb.OutOfMemoryException) as error:
        raise PermanentError(
            f"the atlas could not be written to {building}: {error}. The old atlas is untouched; "
            "free disk space there and build again"
        ) from error
    finally:
        _remove(building)
    return rows


def _named(tables: Tables) -> dict[str, pl.LazyFrame]:
    """The published ones among the tables given, by their names in the atlas."""
    return {name: tables[table.name] for name, table in PUBLISHED.items() if table.name in tables}


def _refuse_bad_input(path: Path, given: Mapping[str, pl.LazyFrame], facts: Mapping[str, str]) -> None:
    missing = [name for name in REQUIRED if name not in given]
    if missing:
        raise Incomplete(
            f"an atlas needs tables {', '.join(missing)}, which were not given. Run: neuron-atlas aggregate first"
        )
    if path.is_dir():
        raise BadInput(f"{path} is a folder; expected the file to write the atlas to, e.g. {path / 'atlas.duckdb'}")
    for name in ("n_layers", "n_neurons"):
        if name in facts and not facts[name].isdigit():
            raise BadInput(f"fact {name!r} is {facts[name]!r}; expected a whole number")


def _fill(
    building: Path, given: Mapping[str, pl.LazyFrame], facts: Mapping[str, str], embedder: Embedder | None
) -> dict[str, int]:
    """Write and check everything; returns rows per table."""
    connection = duckdb.connect(building)
    try:
        connection.execute("BEGIN")  # one log for all, instead of one flush per statement
        rows = {name: _write(connection, name, table, given.get(name)) for name, table in PUBLISHED.items()}
        connection.register("shown_labels", _shown_labels(connection))
        for name in DERIVED:
            connection.execute(statement(f"build/{name}"))
            rows[name] = _count(connection, name)
        connection.unregister("shown_labels")
        write_neuron_index(connection)
        facts = {**facts, **write_label_index(connection, given, embedder)}
        missing = [name for name in PUBLISHED if name not in given]
        _write_metadata(connection, facts, rows, missing)
        check_integrity(connection)
        connection.execute("CREATE UNIQUE INDEX neurons_by_name ON neurons (neuron_id)")
        connection.execute("COMMIT")
        connection.execute("CHECKPOINT")
    finally:
        connection.close()
    return rows


def _write(connection: duckdb.DuckDBPyConnection, name: str, table: Table, frame: pl.LazyFrame | None) -> int:
    """Create one table as declared, with its meanings as comments, and fill it; returns its rows."""
    columns = ", ".join(f'"{c.name}" {duckdb_type(c.dtype)}{"" if c.optional else " NOT NULL"}' for c in table.columns)
    connection.execute(f'CREATE TABLE "{name}" ({columns})')
    connection.execute(f'COMMENT ON TABLE "{name}" IS {sql_text(table.meaning)}')
    for column in table.columns:
        connection.execute(f'COMMENT ON COLUMN "{name}"."{column.name}" IS {sql_text(column.meaning)}')
    if frame is None:
        return 0
    checked = _checked(table, frame)
    connection.register("incoming", checked)
    connection.execute(f'INSERT INTO "{name}" FROM incoming')
    connection.unregister("incoming")
    written = _count(connection, name)
    if written != checked.height:
        raise PermanentError(f"table {name!r} has {written} rows after writing {checked.height}; build again")
    return written


def _checked(table: Table, frame: pl.LazyFrame) -> pl.DataFrame:
    """The table's rows, checked and in key order; graphs shared by several prompt sets stand once."""
    rows = frame.collect()
    if table is GRAPHS:
        return Table(table.name, table.meaning, GRAPH_KEY, table.columns).checked(rows)
    if table.key[:1] == ("prompt_id",):
        rows = rows.unique(subset=table.key, keep="first", maintain_order=True)
    return table.checked(rows)


def _shown_labels(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """Per layer, neuron, polarity and side the labeler whose label is shown and the metric that scores it (missing: none does)."""
    key = ("layer", "neuron", "polarity", "side")
    sides = [
        connection.sql(f"SELECT '{side}' AS side, layer, neuron, polarity, labeler, label FROM {side}_labels").pl()
        for side in ("output", "input")
    ]
    scores = connection.sql("SELECT layer, neuron, polarity, side, labeler, metric, score FROM label_scores").pl()
    shown = first_shown(pl.concat(sides), key).select(*key, "labeler")
    metrics = best_scores(scores, (*key, "labeler")).select(*key, "labeler", "metric")
    return shown.join(metrics, on=[*key, "labeler"], how="left")


def _write_metadata(
    connection: duckdb.DuckDBPyConnection, facts: Mapping[str, str], rows: Mapping[str, int], missing: list[str]
) -> None:
    """Key and value of everything said about the whole."""
    counts = {
        "total_neurons": "neurons",
        "total_edges": "edges",
        "total_clusters": "clusters",
        "total_graphs": "graphs",
    }
    pairs = {
        **facts,
        **{key: str(rows[name]) for key, name in counts.items()},
        "atlas_version": ATLAS_VERSION,
        "missing_tables": ", ".join(missing),
    }
    connection.execute("CREATE TABLE metadata (key VARCHAR NOT NULL, value VARCHAR NOT NULL)")
    frame = pl.DataFrame({"key": list(pairs), "value": list(pairs.values())}).sort("key")
    connection.register("incoming", frame)
    connection.execute("INSERT INTO metadata FROM incoming")
    connection.unregister("incoming")


def _count(connection: duckdb.DuckDBPyConnection, name: str) -> int:
    return int(connection.execute(f'SELECT count(*) FROM "{name}"').fetchall()[0][0])


def _remove(building: Path) -> None:
    """Remove an unfinished atlas with its log and spill folder."""
    building.unlink(missing_ok=True)
    building.with_name(building.name + ".wal").unlink(missing_ok=True)
    shutil.rmtree(building.with_name(building.name + ".tmp"), ignore_errors=True)
