"""The declared tables of `core/tables` in a DuckDB file: `PartitionedTables` in DuckDB's SQL.

A write replaces a partition of an asset in one transaction of its own. DuckDB lets one process at a time write a file, with
nobody reading it meanwhile; who opens a file gets from `explained_error` that this is temporary, and may wait.
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

from neuron_atlas.adapters.tables.partitioned_tables import PartitionedTables, manifest_of_row
from neuron_atlas.core.tables import Column, Table
from neuron_atlas.core.tables.storage import PARTITION, PartitionManifest
from neuron_atlas.errors import AtlasError, BadInput, DamagedData, PermanentError, TransientError

SCHEMA = "stored"  # not the file's own name: DuckDB finds `x.t` ambiguous when catalog and schema are both called x
TYPES: dict[PolarsDataType, str] = {
    pl.Int8(): "TINYINT", pl.Int16(): "SMALLINT", pl.Int32(): "INTEGER", pl.Int64(): "BIGINT", pl.Float32(): "FLOAT",
    pl.Float64(): "DOUBLE", pl.String(): "VARCHAR", pl.Boolean(): "BOOLEAN",
}  # fmt: skip


class DuckDBTables(PartitionedTables):
    """The stored tables of one schema of an open DuckDB file."""

    database = "DuckDB"
    types: Mapping[PolarsDataType, str] = TYPES

    def __init__(self, connection: DuckDBPyConnection, schema: str = SCHEMA) -> None:
        self.connection = connection
        self.schema = schema

    @contextmanager
    def transaction(self) -> Generator[None]:
        self.connection.begin()
        try:
            yield
        except BaseException:
            self.connection.rollback()
            raise
        self.connection.commit()

    def columns(self, name: str) -> dict[str, str]:
        rows = self.connection.execute(
            "select column_name, data_type from duckdb_columns() "
            "where database_name = current_database() and schema_name = ? and table_name = ?",
            [self.schema, name],
        ).fetchall()
        return {str(column): str(kind) for column, kind in rows}

    def create_table(self, name: str, table: Table) -> None:
        types = self.types_of(table)
        columns = ", ".join(
            f"{_quoted(c.name)} {types[c.name]}{'' if c.optional else ' not null'}" for c in table.columns
        )
        self.connection.execute(f"create table {self._qualified(name)} ({PARTITION} varchar not null, {columns})")

    def add_column(self, name: str, column: Column) -> None:
        kind = self.column_type(column.dtype)
        self.connection.execute(f"alter table {self._qualified(name)} add column {_quoted(column.name)} {kind}")

    def drop_table(self, name: str) -> None:
        self.connection.execute(f"drop table if exists {self._qualified(name)}")

    def delete_rows(self, name: str, partition: str) -> None:
        self.connection.execute(f"delete from {self._qualified(name)} where {PARTITION} = ?", [partition])

    def insert_rows(self, name: str, partition: str, table: Table, frame: pl.DataFrame) -> None:
        columns = ", ".join(_quoted(column) for column in frame.columns)
        self.connection.register("incoming_rows", frame)
        self.connection.execute(
            f"insert into {self._qualified(name)} ({PARTITION}, {columns}) select ?, {columns} from incoming_rows",
            [partition],
        )
        self.connection.unregister("incoming_rows")

    def select_rows(self, name: str, columns: Sequence[Column], partitions: Sequence[str]) -> pl.DataFrame:
        chosen = ", ".join(_quoted(column.name) for column in columns)
        query = f"select {chosen} from {self._qualified(name)} where list_contains(?, {PARTITION})"
        return self.connection.sql(query, params=[list(partitions)]).pl()

    def count_rows(self, name: str, partition: str) -> int:
        query = f"select count(*) from {self._qualified(name)} where {PARTITION} = ?"
        ((count,),) = self.connection.execute(query, [partition]).fetchall()
        return int(count)

    def ensure_manifests(self) -> None:
        self.connection.execute(f"create schema if not exists {_quoted(self.schema)}")
        self.connection.execute(
            f"create table if not exists {self._qualified('manifests')} (asset varchar not null, "
            "partition_key varchar not null, rows varchar not null, content_hash varchar not null, "
            "provenance varchar not null)"
        )

    def read_manifests(self, asset: str) -> list[PartitionManifest]:
        rows = self.connection.execute(
            f"select partition_key, rows, content_hash, provenance from {self._qualified('manifests')} where asset = ?",
            [asset],
        ).fetchall()
        return [manifest_of_row(asset, *row) for row in rows]

    def write_manifest(self, manifest: PartitionManifest) -> None:
        self.delete_manifest(manifest.asset, manifest.partition)
        rows, provenance = json.dumps(manifest.rows), json.dumps(manifest.provenance)
        self.connection.execute(
            f"insert into {self._qualified('manifests')} values (?, ?, ?, ?, ?)",
            [manifest.asset, manifest.partition or "", rows, manifest.content_hash, provenance],
        )

    def delete_manifests(self, asset: str) -> None:
        self.connection.execute(f"delete from {self._qualified('manifests')} where asset = ?", [asset])

    def delete_manifest(self, asset: str, partition: str | None) -> None:
        self.connection.execute(
            f"delete from {self._qualified('manifests')} where asset = ? and partition_key = ?",
            [asset, partition or ""],
        )

    def _qualified(self, name: str) -> str:
        return f"{_quoted(self.schema)}.{_quoted(name)}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


DAMAGE = (
    "not a valid DuckDB database file",
    "Corrupt database file",
    "Could not read enough bytes",
    "Failed to load metadata",
)
"""What DuckDB says of files that were cut short or overwritten."""
REBUILD = "Run `neuron-atlas materialize`: it moves the file away and makes its tables again"


def explained_error(error: duckdb.Error, path: Path) -> AtlasError:
    """What DuckDB's error on a file means for the caller: wait (`TransientError`), make its tables again (`DamagedData`), move the
    file away (`BadInput`), or none of these."""
    line = str(error).strip().splitlines()[0]
    if "Could not set lock" in line or "Conflicting lock" in line:
        return TransientError(f"{path} is in use by another process; wait for it to finish. {line}")
    if any(sign in line for sign in DAMAGE):
        return DamagedData(f"{path} is damaged: {line}. {REBUILD}")
    if "serialization version" in line or isinstance(error, duckdb.SerializationException):
        return BadInput(f"{path} is not a DuckDB file this version reads; move it away and materialize again. {line}")
    return PermanentError(f"DuckDB could not work on {path}: {line}")
