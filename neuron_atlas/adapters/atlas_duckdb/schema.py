"""What stands in an atlas file, and how a file is opened for reading.

Tables come from `core/tables`; here is only which of them are published, under which names, in which DuckDB types, and the
version of the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TypeAlias

import duckdb
import polars as pl
from polars._typing import PolarsDataType

from neuron_atlas.core import tables
from neuron_atlas.core.hashing import frame_hash
from neuron_atlas.core.tables import Table
from neuron_atlas.errors import BadInput, DamagedData

ATLAS_VERSION = "3"
"""Version of the file's layout; a reader refuses any other."""

REBUILD = "neuron-atlas build-db"
"""The command that makes a file this version reads."""

PUBLISHED: dict[str, Table] = {
    "graphs": tables.GRAPHS,
    "targets": tables.TARGETS,
    "graph_nodes": tables.NODES,
    "graph_edges": tables.EDGES,
    "faithfulness": tables.FAITHFULNESS,
    "set_sums": tables.SET_SUMS,
    "edge_stats": tables.EDGE_STATS,
    "neuron_profiles": tables.NEURON_PROFILES,
    "token_associations": tables.TOKEN_ASSOCIATIONS,
    "output_associations": tables.OUTPUT_ASSOCIATIONS,
    "cooccurrence": tables.COOCCURRENCE,
    "neuron_prompts": tables.NEURON_PROMPTS,
    "activation_stats": tables.ACTIVATION_STATS,
    "exemplars": tables.EXEMPLARS,
    "correlated_neurons": tables.CORRELATED_NEURONS,
    "projection_agreement": tables.PROJECTION_AGREEMENT,
    "weight_edges": tables.WEIGHT_EDGES,
    "output_projections": tables.OUTPUT_PROJECTIONS,
    "input_projections": tables.INPUT_PROJECTIONS,
    "der_scores": tables.DER_SCORES,
    "output_labels": tables.OUTPUT_LABELS,
    "input_labels": tables.INPUT_LABELS,
    "label_scores": tables.LABEL_SCORES,
    "clusters": tables.CLUSTERS,
    "cluster_members": tables.CLUSTER_MEMBERS,
    "cluster_runs": tables.CLUSTER_RUNS,
    "cluster_flows": tables.CLUSTER_FLOWS,
    "cluster_labels": tables.CLUSTER_LABELS,
    "profile_clusters": tables.PROFILE_CLUSTERS,
    "profile_members": tables.PROFILE_MEMBERS,
    "profile_agreement": tables.PROFILE_AGREEMENT,
    "analyses": tables.ANALYSES,
    "analysis_modules": tables.ANALYSIS_MODULES,
    "analysis_members": tables.ANALYSIS_MEMBERS,
    "analysis_flows": tables.ANALYSIS_FLOWS,
}
"""Tables of the atlas by their names in the file. The sums of single prompt sets are left out: `edge_stats` merges them.

An edge of `graph_edges` joins two nodes of one prompt's graph; one of `edge_stats`, and of the view `edges`, joins two neurons and
is a statistic over all prompts. `metadata` lists the tables that were not given in the order of this list."""

REQUIRED = ("edge_stats", "neuron_profiles")
"""Without these there is nothing to publish; any other table may be missing and is then empty, and named in `metadata`."""

GRAPH_KEY = ("prompt_set", "prompt_id")
"""A prompt may stand in several prompt sets, so `graphs` has a row for each; its nodes and edges stand once."""

_TYPES: dict[PolarsDataType, str] = {
    pl.Int8(): "TINYINT", pl.Int16(): "SMALLINT", pl.Int32(): "INTEGER", pl.Int64(): "BIGINT", pl.Float32(): "FLOAT",
    pl.Float64(): "DOUBLE", pl.String(): "VARCHAR", pl.Boolean(): "BOOLEAN",
}  # fmt: skip

Parameters: TypeAlias = Mapping[str, object]


def duckdb_type(dtype: pl.DataType) -> str:
    """The DuckDB type of a column's polars type."""
    return f"{_TYPES[dtype.inner]}[]" if isinstance(dtype, pl.List) else _TYPES[dtype]


def sql_text(value: str) -> str:
    """A text as an SQL literal, for statements that take no parameters."""
    return "'" + value.replace("'", "''") + "'"


def statement(name: str) -> str:
    """The SQL of `adapters/sql/atlas/<name>.sql`; `build/…` makes a table, `queries/…` reads."""
    return resources.files("neuron_atlas.adapters").joinpath("sql", "atlas", f"{name}.sql").read_text()


def frame_of(connection: duckdb.DuckDBPyConnection, sql: str, parameters: Parameters | None = None) -> pl.DataFrame:
    """Run one statement and return its rows as a frame."""
    return connection.query(sql, params=dict(parameters or {})).pl()


def open_read_only(path: Path, *, memory_limit: str = "1GB", threads: int = 2) -> duckdb.DuckDBPyConnection:
    """Open an atlas file so that nothing but reading it is possible.

    The file is attached to an empty database in memory: `duckdb.connect(path)` would hand out this process' older connection to
    the same path even after the file was replaced. No other file can be read or written, no extension loaded, no setting
    changed. Raises `BadInput` when there is no such file or it is no atlas of this version, `DamagedData` when it cannot be read.
    """
    if not path.is_file():
        raise BadInput(
            f"there is no atlas at {path}; expected a DuckDB file. Build one with: {REBUILD} (or make atlas)"
        )
    connection = duckdb.connect(":memory:")
    try:
        connection.execute(f"ATTACH {sql_text(str(path))} AS atlas (READ_ONLY, TYPE duckdb)")
        connection.execute("USE atlas")
        connection.execute(f"SET memory_limit = {sql_text(memory_limit)}")
        connection.execute(f"SET threads = {int(threads)}")
        connection.execute("SET temp_directory = ''")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        _refuse_other_versions(connection, path)
    except duckdb.IOException as error:
        connection.close()
        raise BadInput(
            f"{path} cannot be opened as an atlas: {_first_line(error)}. Rebuild it with: {REBUILD}"
        ) from error
    except duckdb.Error as error:
        connection.close()
        raise DamagedData(f"{path} is damaged: {_first_line(error)}. Rebuild it with: {REBUILD}") from error
    except BadInput:
        connection.close()
        raise
    return connection


def _refuse_other_versions(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    try:
        rows = connection.execute("SELECT value FROM metadata WHERE key = 'atlas_version'").fetchall()
    except duckdb.CatalogException as error:
        raise BadInput(
            f"{path} is a DuckDB file but no atlas (no table metadata). Build one with: {REBUILD}"
        ) from error
    found = rows[0][0] if rows else "none"
    if found != ATLAS_VERSION:
        raise BadInput(
            f"{path} has atlas version {found}; this release reads version {ATLAS_VERSION}. Rebuild it with: {REBUILD}"
        )


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def table_hashes(path: str | Path) -> dict[str, str]:
    """The content hash of every table and view in an atlas, rows in sorted order: equal input gives equal hashes."""
    connection = open_read_only(Path(path))
    try:
        listed = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_catalog = 'atlas' ORDER BY table_name"
        ).fetchall()
        return {name: frame_hash(frame_of(connection, f'FROM atlas.main."{name}" ORDER BY ALL')) for (name,) in listed}
    finally:
        connection.close()
