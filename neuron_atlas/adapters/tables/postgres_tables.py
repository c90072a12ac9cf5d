"""The declared tables of `core/tables` in PostgreSQL: what assets store there, partition by partition.

One schema, one table per declaration, and the partition's key beside the declared columns. A write replaces a partition of
an asset, all its tables and its line in `manifests`, in one transaction: readers see the old partition or the new one, never
a mixture, whatever dies. What was written can be recognised anywhere: its content hash is the one the lake's Parquet has.

When a declaration has gained optional columns since a table was made, they are added; any other difference is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import polars as pl
from polars._typing import PolarsDataType
from psycopg import sql

from neuron_atlas.adapters.postgres import Connection, copy_rows, escaped, unescaped
from neuron_atlas.core.records import Frames
from neuron_atlas.core.tables import Column, Table
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

SCHEMA = "neuron_atlas"
TYPES: dict[PolarsDataType, str] = {
    pl.Int8(): "int2", pl.Int16(): "int2", pl.Int32(): "int4", pl.Int64(): "int8", pl.Float32(): "float4",
    pl.Float64(): "float8", pl.String(): "text", pl.Boolean(): "bool",
}  # fmt: skip


def write_partition(
    connection: Connection,
    asset: str,
    partition: str | None,
    frames: Frames,
    *,
    provenance: Mapping[str, object],
    schema: str = SCHEMA,
) -> StoredPartition:
    """Replace one partition of an asset (all of it for `partition=None`) in the connection's transaction; the caller commits.

    `frames` holds every table of the asset; each is checked against its declaration first. Two writers of one partition
    wait for each other. Raises `DamagedData` when frames or stored tables differ from their declarations, `UnknownName`
    for another asset.
    """
    checked, stored = checked_frames(asset, partition, frames, provenance)
    key = partition or ""
    _ensure_schema(connection, schema)
    _lock(connection, f"{schema}/{asset}/{key}")
    for table in tables_of_asset(asset):
        name = _ensure_table(connection, asset, table, schema)
        connection.execute(sql.SQL("delete from {} where {} = %s").format(name, sql.Identifier(PARTITION)), [key])
        rows = ((key, *row) for row in escaped(checked[table.name]).iter_rows())
        columns = {PARTITION: "text", **_types(table)}
        copy_rows(connection, name, columns, rows)
    connection.execute(
        sql.SQL(
            "insert into {} values (%s, %s, %s, %s, %s) on conflict (asset, partition_key) do update set "
            "rows = excluded.rows, content_hash = excluded.content_hash, provenance = excluded.provenance"
        ).format(sql.Identifier(schema, "manifests")),
        [asset, key, json.dumps(stored.rows), stored.content_hash, json.dumps(stored.provenance)],
    )
    return stored


def read_partitions(
    connection: Connection, asset: str, partitions: Sequence[str] | None = None, *, schema: str = SCHEMA
) -> Frames:
    """The tables of an asset, of the named partitions or (None) of all, sorted by key and checked.

    Raises `Incomplete` when a named partition, or any at all, is missing; `DamagedData` when rows are not those that the
    manifest counted.
    """
    wanted = wanted_partitions(asset, list_partitions(connection, asset, schema=schema), partitions, store="PostgreSQL")
    frames: Frames = {}
    for table in tables_of_asset(asset):
        short = stored_name(asset, table)
        found = _columns(connection, schema, short)
        if not found:
            frames[table.name] = complete(asset, table, table.empty(), wanted)
            continue
        added = {c.name for c in new_columns(f"{schema}.{short}", asset, table, found, _types(table))}
        held = {c.name: c.dtype for c in table.columns if c.name not in added}
        query = sql.SQL("select {} from {} where {} = any(%s)").format(
            sql.SQL(", ").join(map(sql.Identifier, held)), sql.Identifier(schema, short), sql.Identifier(PARTITION)
        )
        with connection.cursor(binary=True) as cursor:
            rows = cursor.execute(query, [list(wanted)]).fetchall()
        frame = unescaped(pl.DataFrame(rows, schema=held, orient="row")).with_columns(
            pl.lit(None).alias(n) for n in added
        )
        frames[table.name] = complete(asset, table, frame, wanted)
    return frames


def list_partitions(connection: Connection, asset: str, *, schema: str = SCHEMA) -> list[StoredPartition]:
    """Every stored partition of an asset, by name; empty when none."""
    tables_of_asset(asset)
    if not _columns(connection, schema, "manifests"):
        return []
    query = sql.SQL(
        "select partition_key, rows, content_hash, provenance from {} where asset = %s order by partition_key"
    ).format(sql.Identifier(schema, "manifests"))
    rows = connection.execute(query, [asset]).fetchall()
    found = (StoredPartition(asset, p or None, counts, digest, made) for p, counts, digest, made in rows)
    return sorted(found, key=lambda m: m.partition or "")


def drop_partition(connection: Connection, asset: str, partition: str | None, *, schema: str = SCHEMA) -> bool:
    """Forget one partition; False when it was not there."""
    if not any(m.partition == partition for m in list_partitions(connection, asset, schema=schema)):
        return False
    statement = sql.SQL("delete from {} where {} = %s")
    for table in tables_of_asset(asset):
        name = sql.Identifier(schema, stored_name(asset, table))
        connection.execute(statement.format(name, sql.Identifier(PARTITION)), [partition or ""])
    manifests = sql.SQL("delete from {} where asset = %s and partition_key = %s")
    connection.execute(manifests.format(sql.Identifier(schema, "manifests")), [asset, partition or ""])
    return True


# ------------------------------------------------------------------------------------------------------------- declarations
def column_type(dtype: pl.DataType) -> str:
    """PostgreSQL's type for a declared one: `int2`, `text[]` …"""
    return TYPES[dtype.inner] + "[]" if isinstance(dtype, pl.List) else TYPES[dtype]


def _ensure_schema(connection: Connection, schema: str) -> None:
    if _columns(connection, schema, "manifests"):
        return
    _lock(connection, f"{schema}.manifests")
    connection.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(schema)))
    connection.execute(
        sql.SQL(
            "create table if not exists {} (asset text not null, partition_key text not null, rows jsonb not null, "
            "content_hash text not null, provenance jsonb not null, primary key (asset, partition_key))"
        ).format(sql.Identifier(schema, "manifests"))
    )


def _ensure_table(connection: Connection, asset: str, table: Table, schema: str) -> sql.Identifier:
    """The stored table, made when missing, brought forward when the declaration gained optional columns."""
    short = stored_name(asset, table)
    name = sql.Identifier(schema, short)
    types = _types(table)
    found = _columns(connection, schema, short)
    if found and set(found) == {*types, PARTITION} and all(found[n] == kind for n, kind in types.items()):
        return name
    _lock(connection, f"{schema}.{short}")
    found = _columns(connection, schema, short)
    if not found:
        columns = [sql.SQL("{} text not null").format(sql.Identifier(PARTITION)), *map(_definition, table.columns)]
        keys = [sql.Identifier(PARTITION), *map(sql.Identifier, table.key)]
        statement = sql.SQL("create table {} ({}, primary key ({}))")
        connection.execute(statement.format(name, sql.SQL(", ").join(columns), sql.SQL(", ").join(keys)))
        return name
    for column in new_columns(f"{schema}.{short}", asset, table, found, types):
        connection.execute(sql.SQL("alter table {} add column {}").format(name, _definition(column)))
    return name


def _definition(column: Column) -> sql.Composed:
    kind = column_type(column.dtype).removesuffix("[]")
    many = sql.SQL("[]") if isinstance(column.dtype, pl.List) else sql.SQL("")
    filled = sql.SQL("") if column.optional else sql.SQL(" not null")
    return sql.SQL("{} {}{}{}").format(sql.Identifier(column.name), sql.Identifier(kind), many, filled)


def _types(table: Table) -> dict[str, str]:
    """Column name to PostgreSQL type, as declared."""
    return {c.name: column_type(c.dtype) for c in table.columns}


def _columns(connection: Connection, schema: str, table: str) -> dict[str, str]:
    """Column name to type of a stored table; empty when there is none."""
    rows = connection.execute(
        "select column_name, udt_name from information_schema.columns where table_schema = %s and table_name = %s",
        [schema, table],
    ).fetchall()
    return {name: kind[1:] + "[]" if kind.startswith("_") else kind for name, kind in rows}


def _lock(connection: Connection, what: str) -> None:
    """One transaction at a time from here on, for everyone who locks the same words."""
    connection.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", [what])
