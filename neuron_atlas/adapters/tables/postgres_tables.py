"""The declared tables of `core/tables` in PostgreSQL: `PartitionedTables` in PostgreSQL's SQL.

Everything happens in the connection's own transaction, which the caller commits. Two writers of one partition wait for each
other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import polars as pl
from polars._typing import PolarsDataType
from psycopg import sql

from neuron_atlas.adapters.postgres import Connection, copy_rows, escaped, unescaped
from neuron_atlas.adapters.tables.partitioned_tables import PartitionedTables, manifest_of_row
from neuron_atlas.core.tables import Column, Table
from neuron_atlas.core.tables.storage import PARTITION, PartitionManifest

SCHEMA = "neuron_atlas"
TYPES: dict[PolarsDataType, str] = {
    pl.Int8(): "int2", pl.Int16(): "int2", pl.Int32(): "int4", pl.Int64(): "int8", pl.Float32(): "float4",
    pl.Float64(): "float8", pl.String(): "text", pl.Boolean(): "bool",
}  # fmt: skip


class PostgresTables(PartitionedTables):
    """The stored tables of one schema, on one connection."""

    database = "PostgreSQL"
    types: Mapping[PolarsDataType, str] = TYPES

    def __init__(self, connection: Connection, schema: str = SCHEMA) -> None:
        self.connection = connection
        self.schema = schema

    def lock(self, what: str) -> None:
        self.connection.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", [what])

    def columns(self, name: str) -> dict[str, str]:
        rows = self.connection.execute(
            "select column_name, udt_name from information_schema.columns where table_schema = %s and table_name = %s",
            [self.schema, name],
        ).fetchall()
        return {column: kind[1:] + "[]" if kind.startswith("_") else kind for column, kind in rows}

    def create_table(self, name: str, table: Table) -> None:
        key_column = sql.SQL("{} text not null").format(sql.Identifier(PARTITION))
        columns = [key_column, *map(self._definition, table.columns)]
        keys = [sql.Identifier(PARTITION), *map(sql.Identifier, table.key)]
        statement = sql.SQL("create table {} ({}, primary key ({}))")
        self.connection.execute(
            statement.format(self._qualified(name), sql.SQL(", ").join(columns), sql.SQL(", ").join(keys))
        )

    def add_column(self, name: str, column: Column) -> None:
        statement = sql.SQL("alter table {} add column {}")
        self.connection.execute(statement.format(self._qualified(name), self._definition(column)))

    def drop_table(self, name: str) -> None:
        self.connection.execute(sql.SQL("drop table if exists {} cascade").format(self._qualified(name)))

    def delete_rows(self, name: str, partition: str) -> None:
        statement = sql.SQL("delete from {} where {} = %s")
        self.connection.execute(statement.format(self._qualified(name), sql.Identifier(PARTITION)), [partition])

    def insert_rows(self, name: str, partition: str, table: Table, frame: pl.DataFrame) -> None:
        rows = ((partition, *row) for row in escaped(frame).iter_rows())
        copy_rows(self.connection, self._qualified(name), {PARTITION: "text", **self.types_of(table)}, rows)

    def count_rows(self, name: str, partition: str) -> int:
        query = sql.SQL("select count(*) from {} where {} = %s").format(
            self._qualified(name), sql.Identifier(PARTITION)
        )
        ((count,),) = self.connection.execute(query, [partition]).fetchall()
        return int(count)

    def select_rows(self, name: str, columns: Sequence[Column], partitions: Sequence[str]) -> pl.DataFrame:
        query = sql.SQL("select {} from {} where {} = any(%s)").format(
            sql.SQL(", ").join(sql.Identifier(column.name) for column in columns),
            self._qualified(name),
            sql.Identifier(PARTITION),
        )
        with self.connection.cursor(binary=True) as cursor:
            rows = cursor.execute(query, [list(partitions)]).fetchall()
        return unescaped(pl.DataFrame(rows, schema={c.name: c.dtype for c in columns}, orient="row"))

    def ensure_manifests(self) -> None:
        if self.columns("manifests"):
            return
        self.lock(f"{self.schema}.manifests")
        self.connection.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(self.schema)))
        self.connection.execute(
            sql.SQL(
                "create table if not exists {} (asset text not null, partition_key text not null, rows jsonb not null, "
                "content_hash text not null, provenance jsonb not null, primary key (asset, partition_key))"
            ).format(self._qualified("manifests"))
        )

    def read_manifests(self, asset: str) -> list[PartitionManifest]:
        query = sql.SQL("select partition_key, rows, content_hash, provenance from {} where asset = %s")
        rows = self.connection.execute(query.format(self._qualified("manifests")), [asset]).fetchall()
        return [manifest_of_row(asset, *row) for row in rows]

    def write_manifest(self, manifest: PartitionManifest) -> None:
        statement = sql.SQL(
            "insert into {} values (%s, %s, %s, %s, %s) on conflict (asset, partition_key) do update set "
            "rows = excluded.rows, content_hash = excluded.content_hash, provenance = excluded.provenance"
        )
        rows, provenance = json.dumps(manifest.rows), json.dumps(manifest.provenance)
        self.connection.execute(
            statement.format(self._qualified("manifests")),
            [manifest.asset, manifest.partition or "", rows, manifest.content_hash, provenance],
        )

    def delete_manifests(self, asset: str) -> None:
        self.connection.execute(
            sql.SQL("delete from {} where asset = %s").format(self._qualified("manifests")), [asset]
        )

    def delete_manifest(self, asset: str, partition: str | None) -> None:
        statement = sql.SQL("delete from {} where asset = %s and partition_key = %s")
        self.connection.execute(statement.format(self._qualified("manifests")), [asset, partition or ""])

    def _qualified(self, name: str) -> sql.Identifier:
        return sql.Identifier(self.schema, name)

    def _definition(self, column: Column) -> sql.Composed:
        kind = self.column_type(column.dtype).removesuffix("[]")
        many = sql.SQL("[]") if isinstance(column.dtype, pl.List) else sql.SQL("")
        filled = sql.SQL("") if column.optional else sql.SQL(" not null")
        return sql.SQL("{} {}{}{}").format(sql.Identifier(column.name), sql.Identifier(kind), many, filled)
