"""The declared tables of `core/tables` in a DuckDB file: what the table assets store, partition by partition.

The twin of `postgres_tables.py`: the same functions, names, manifests and content hash, on a DuckDB connection. A write
replaces a partition of an asset in one transaction of its own. DuckDB lets one process at a time write a file, with nobody
reading it meanwhile; `open_duckdb` says so as a transient error, so that the caller may wait.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import polars as pl
from duckdb import DuckDBPyConnection
from polars._typing import PolarsDataType

from neuron_atlas.core.records import Frames
from neuron_atlas.core.tables import Table
from neuron_atlas.core.tables.storage import (
    PARTITION,
    StoredPartition,
    checked_frames,
    complete,
    new_columns,
    stored_name,
    tables_of_asset,
    wanted_partitions,
)
from neuron_atlas.errors import AtlasError, BadInput, Incomplete, PermanentError, TransientError

SCHEMA = "stored"  # not the file's own name: DuckDB finds `x.t` ambiguous when catalog and schema are both called x
TYPES: dict[PolarsDataType, str] = {
    pl.Int8(): "TINYINT", pl.Int16(): "SMALLINT", pl.Int32(): "INTEGER", pl.Int64(): "BIGINT", pl.Float32(): "FLOAT",
    pl.Float64(): "DOUBLE", pl.String(): "VARCHAR", pl.Boolean(): "BOOLEAN",
}  # fmt: skip


@contextmanager
def open_duckdb(
    path: Path, *, read_only: bool = False, memory_limit: str = "4GB", threads: int = 2
) -> Generator[DuckDBPyConnection]:
    """A connection to a DuckDB file, closed at the end; it reaches nothing outside the file.

    Raises `TransientError` when another process has the file open, `Incomplete` when it is to be read and is not there,
    `BadInput` when it cannot be made or is not a DuckDB file of a version this can read.
    """
    if read_only and not path.exists():
        raise Incomplete(f"there is no {path} yet; materialize the table assets first")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = duckdb.connect(
            str(path), read_only=read_only, config={"memory_limit": memory_limit, "threads": threads}
        )
        connection.execute("set enable_external_access = false")
    except OSError as error:
        raise BadInput(f"cannot make {path.parent} ({error.strerror}); choose another NEURON_ATLAS_HOME") from error
    except duckdb.Error as error:
        raise _explained(error, path) from error
    try:
        yield connection
    except duckdb.Error as error:
        raise _explained(error, path) from error
    finally:
        connection.close()


def write_partition(
    connection: DuckDBPyConnection,
    asset: str,
    partition: str | None,
    frames: Frames,
    *,
    provenance: Mapping[str, object],
    schema: str = SCHEMA,
) -> StoredPartition:
    """Replace one partition of an asset (all of it for `partition=None`) in one transaction.

    `frames` holds every table of the asset; each is checked against its declaration first. Raises `DamagedData` when frames
    or stored tables differ from their declarations, `UnknownName` for another asset.
    """
    checked, stored = checked_frames(asset, partition, frames, provenance)
    key, manifests = partition or "", f"{_quoted(schema)}.manifests"
    with _transaction(connection):
        connection.execute(f"create schema if not exists {_quoted(schema)}")
        connection.execute(
            f"create table if not exists {manifests} (asset varchar not null, partition_key varchar not null, "
            "rows varchar not null, content_hash varchar not null, provenance varchar not null)"
        )
        for table in tables_of_asset(asset):
            name = _ensure_table(connection, asset, table, schema)
            connection.execute(f"delete from {name} where {PARTITION} = ?", [key])
            _insert(connection, name, key, checked[table.name])
        connection.execute(f"delete from {manifests} where asset = ? and partition_key = ?", [asset, key])
        connection.execute(
            f"insert into {manifests} values (?, ?, ?, ?, ?)",
            [asset, key, json.dumps(stored.rows), stored.content_hash, json.dumps(stored.provenance)],
        )
    return stored


def read_partitions(
    connection: DuckDBPyConnection, asset: str, partitions: Sequence[str] | None = None, *, schema: str = SCHEMA
) -> Frames:
    """The tables of an asset, of the named partitions or (None) of all, sorted by key and checked.

    Raises `Incomplete` when a named partition, or any at all, is missing; `DamagedData` when rows are not those that the
    manifest counted.
    """
    wanted = wanted_partitions(asset, list_partitions(connection, asset, schema=schema), partitions, store="DuckDB")
    frames: Frames = {}
    for table in tables_of_asset(asset):
        found = _columns(connection, schema, stored_name(asset, table))
        if not found:
            frames[table.name] = complete(asset, table, table.empty(), wanted)
            continue
        name = _qualified(schema, asset, table)
        added = {c.name for c in new_columns(name, asset, table, found, _types(table))}
        columns = ", ".join(_quoted(c.name) for c in table.columns if c.name not in added)
        query = f"select {columns} from {name} where list_contains(?, {PARTITION})"
        frame = connection.sql(query, params=[list(wanted)]).pl().with_columns(pl.lit(None).alias(n) for n in added)
        frames[table.name] = complete(asset, table, frame, wanted)
    return frames


def list_partitions(connection: DuckDBPyConnection, asset: str, *, schema: str = SCHEMA) -> list[StoredPartition]:
    """Every stored partition of an asset, by name; empty when none."""
    tables_of_asset(asset)
    if not _columns(connection, schema, "manifests"):
        return []
    rows = connection.execute(
        f"select partition_key, rows, content_hash, provenance from {_quoted(schema)}.manifests where asset = ?",
        [asset],
    ).fetchall()
    found = (StoredPartition(asset, p or None, json.loads(n), h, json.loads(made)) for p, n, h, made in rows)
    return sorted(found, key=lambda m: m.partition or "")


def drop_partition(connection: DuckDBPyConnection, asset: str, partition: str | None, *, schema: str = SCHEMA) -> bool:
    """Forget one partition, in one transaction; False when it was not there."""
    if not any(m.partition == partition for m in list_partitions(connection, asset, schema=schema)):
        return False
    with _transaction(connection):
        for table in tables_of_asset(asset):
            name = _qualified(schema, asset, table)
            connection.execute(f"delete from {name} where {PARTITION} = ?", [partition or ""])
        connection.execute(
            f"delete from {_quoted(schema)}.manifests where asset = ? and partition_key = ?", [asset, partition or ""]
        )
    return True


# ------------------------------------------------------------------------------------------------------------- declarations
def column_type(dtype: pl.DataType) -> str:
    """DuckDB's type for a declared one: `SMALLINT`, `VARCHAR[]` …"""
    return TYPES[dtype.inner] + "[]" if isinstance(dtype, pl.List) else TYPES[dtype]


def _ensure_table(connection: DuckDBPyConnection, asset: str, table: Table, schema: str) -> str:
    """The stored table's full name; made when missing, brought forward when the declaration gained optional columns."""
    name = _qualified(schema, asset, table)
    types = _types(table)
    found = _columns(connection, schema, stored_name(asset, table))
    if not found:
        columns = ", ".join(
            f"{_quoted(c.name)} {types[c.name]}{'' if c.optional else ' not null'}" for c in table.columns
        )
        connection.execute(f"create table {name} ({PARTITION} varchar not null, {columns})")
        return name
    for column in new_columns(name, asset, table, found, types):
        connection.execute(f"alter table {name} add column {_quoted(column.name)} {types[column.name]}")
    return name


def _types(table: Table) -> dict[str, str]:
    """Column name to DuckDB type, as declared."""
    return {c.name: column_type(c.dtype) for c in table.columns}


def _columns(connection: DuckDBPyConnection, schema: str, table: str) -> dict[str, str]:
    """Column name to type of a stored table; empty when there is none."""
    rows = connection.execute(
        "select column_name, data_type from duckdb_columns() "
        "where database_name = current_database() and schema_name = ? and table_name = ?",
        [schema, table],
    ).fetchall()
    return {str(name): str(kind) for name, kind in rows}


def _insert(connection: DuckDBPyConnection, name: str, partition: str, frame: pl.DataFrame) -> None:
    """Append a frame's rows."""
    columns = ", ".join(_quoted(column) for column in frame.columns)
    connection.register("incoming_rows", frame)
    connection.execute(
        f"insert into {name} ({PARTITION}, {columns}) select ?, {columns} from incoming_rows", [partition]
    )
    connection.unregister("incoming_rows")


def _qualified(schema: str, asset: str, table: Table) -> str:
    return f"{_quoted(schema)}.{_quoted(stored_name(asset, table))}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@contextmanager
def _transaction(connection: DuckDBPyConnection) -> Generator[None]:
    """All of the block, or nothing of it."""
    connection.begin()
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def _explained(error: duckdb.Error, path: Path) -> AtlasError:
    """What DuckDB's complaint means for the caller."""
    line = str(error).strip().splitlines()[0]
    if "Could not set lock" in line or "Conflicting lock" in line:
        return TransientError(f"{path} is in use by another process; wait for it to finish. {line}")
    if (
        "not a valid DuckDB database file" in line
        or "serialization version" in line
        or isinstance(error, duckdb.SerializationException)
    ):
        return BadInput(f"{path} is not a DuckDB file this version reads; move it away and materialize again. {line}")
    return PermanentError(f"DuckDB could not work on {path}: {line}")
