"""The declared tables of `core/tables.py` in PostgreSQL: what assets store there, partition by partition.

One schema, one table per declaration; beside the declared columns each row carries `partition_key` ('' for an asset without
partitions). A write replaces a partition of an asset, all its tables and its line in `manifests`, in one transaction:
readers see the old partition or the new one, never a mixture, whatever dies. What was written can be recognised anywhere:
the content hash is that of `core/hashing.py`, the same the Parquet files have.

When a declaration has gained optional columns since a table was made, they are added; any other difference is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl
from polars._typing import PolarsDataType
from psycopg import sql

from neuron_atlas.adapters.postgres import Connection
from neuron_atlas.core.hashing import frames_hash
from neuron_atlas.core.records import Frames
from neuron_atlas.core.tables import ASSETS, Column, Table, tables_of
from neuron_atlas.errors import DamagedData, Incomplete, UnknownName

SCHEMA = "neuron_atlas"
PARTITION = "partition_key"
TYPES: dict[PolarsDataType, str] = {
    pl.Int8(): "int2", pl.Int16(): "int2", pl.Int32(): "int4", pl.Int64(): "int8", pl.Float32(): "float4",
    pl.Float64(): "float8", pl.String(): "text", pl.Boolean(): "bool",
}  # fmt: skip

# PostgreSQL's text holds any character but NUL, which some tokens are. The first Unicode noncharacter marks it.
NUL, MARK = "\x00", "\ufdd0"
MARKED_NUL, MARKED_MARK = MARK + "0", MARK + "1"


@dataclass(frozen=True, slots=True)
class StoredPartition:
    """What `manifests` says of one partition: rows per table, content hash of all its tables, and how it was made."""

    asset: str
    partition: str | None
    rows: dict[str, int]
    content_hash: str
    provenance: dict[str, object]


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

    `frames` holds every table of the asset; each is checked against its declaration first. Raises `DamagedData` when they
    differ from it, `UnknownName` for another asset.
    """
    tables = _tables(asset)
    if wrong := {t.name for t in tables} ^ set(frames):
        raise DamagedData(f"asset {asset!r} stores {[t.name for t in tables]}; missing or unexpected: {sorted(wrong)}")
    checked = {t.name: t.checked(frames[t.name]) for t in tables}
    stored = StoredPartition(
        asset, partition, {n: f.height for n, f in checked.items()}, frames_hash(checked), dict(provenance)
    )
    _ensure_schema(connection, schema)
    for table in tables:
        name = _ensure_table(connection, asset, table, schema)
        connection.execute(
            sql.SQL("delete from {} where {} = %s").format(name, sql.Identifier(PARTITION)), [partition or ""]
        )
        _copy(connection, name, table, checked[table.name], partition or "")
    connection.execute(
        sql.SQL(
            "insert into {} values (%s, %s, %s, %s, %s) on conflict (asset, partition_key) do update set "
            "rows = excluded.rows, content_hash = excluded.content_hash, provenance = excluded.provenance"
        ).format(sql.Identifier(schema, "manifests")),
        [asset, partition or "", json.dumps(stored.rows), stored.content_hash, json.dumps(stored.provenance)],
    )
    return stored


def read_partitions(
    connection: Connection, asset: str, partitions: Sequence[str] | None = None, *, schema: str = SCHEMA
) -> Frames:
    """The tables of an asset, of the named partitions or (None) of all, sorted by key and checked.

    Raises `Incomplete` when a named partition, or any at all, is missing; `DamagedData` when rows are not those that the
    manifest counted.
    """
    stored = {m.partition or "": m for m in list_partitions(connection, asset, schema=schema)}
    wanted = list(stored) if partitions is None else list(dict.fromkeys(partitions))
    absent = [p for p in wanted if p not in stored]
    if absent or not stored:
        what = f"partitions {absent} of {asset!r}" if absent else f"asset {asset!r}"
        raise Incomplete(f"{what} not in PostgreSQL yet; has: {sorted(stored) or 'nothing'}. Materialize {asset} first")
    frames: Frames = {}
    for table in _tables(asset):
        frames[table.name] = frame = _read(connection, asset, table, wanted, schema)
        expected = sum(stored[p].rows[table.name] for p in wanted)
        if frame.height != expected:
            raise DamagedData(
                f"{asset}/{table.name} has {frame.height} rows in partitions {wanted}; the manifest says {expected}. "
                f"Something else wrote there; materialize {asset} again"
            )
    return frames


def list_partitions(connection: Connection, asset: str, *, schema: str = SCHEMA) -> list[StoredPartition]:
    """Every stored partition of an asset, by name; empty when none."""
    _tables(asset)
    if _columns(connection, schema, "manifests") == {}:
        return []
    rows = connection.execute(
        sql.SQL(
            'select partition_key, rows, content_hash, provenance from {} where asset = %s order by partition_key collate "C"'
        ).format(sql.Identifier(schema, "manifests")),
        [asset],
    ).fetchall()
    return [StoredPartition(asset, p or None, r, h, v) for p, r, h, v in rows]


def drop_partition(connection: Connection, asset: str, partition: str | None, *, schema: str = SCHEMA) -> bool:
    """Forget one partition; False when it was not there."""
    if not any(m.partition == partition for m in list_partitions(connection, asset, schema=schema)):
        return False
    where = sql.SQL("where {} = %s").format(sql.Identifier(PARTITION))
    for table in _tables(asset):
        name = sql.Identifier(schema, stored_name(asset, table))
        connection.execute(sql.SQL("delete from {} {}").format(name, where), [partition or ""])
    connection.execute(
        sql.SQL("delete from {} {} and asset = %s").format(sql.Identifier(schema, "manifests"), where),
        [partition or "", asset],
    )
    return True


def stored_name(asset: str, table: Table) -> str:
    """The table's own name; with the asset's before it where two assets declare the same table."""
    shared = sum(table in tables for tables in ASSETS.values()) > 1
    return f"{asset}__{table.name}" if shared else table.name


# ------------------------------------------------------------------------------------------------------------- declarations
def _tables(asset: str) -> Sequence[Table]:
    if asset not in ASSETS:
        raise UnknownName("asset", asset, ASSETS)
    return tables_of(asset)


def column_type(dtype: pl.DataType) -> str:
    """PostgreSQL's type for a declared one: `int2`, `text[]` …"""
    if isinstance(dtype, pl.List):
        return TYPES[dtype.inner] + "[]"
    return TYPES[dtype]


def _ensure_schema(connection: Connection, schema: str) -> None:
    """The schema and its manifests; first writers at once wait for each other."""
    if _columns(connection, schema, "manifests"):
        return
    connection.execute("select pg_advisory_xact_lock(hashtext(%s))", [f"{schema}.manifests"])
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
    found = _columns(connection, schema, short)
    if not found:
        connection.execute("select pg_advisory_xact_lock(hashtext(%s))", [f"{schema}.{short}"])
        found = _columns(connection, schema, short)
    if not found:
        columns = [sql.SQL("{} text not null").format(sql.Identifier(PARTITION))] + [
            _definition(c) for c in table.columns
        ]
        keys = [sql.Identifier(PARTITION), *(sql.Identifier(k) for k in table.key)]
        connection.execute(
            sql.SQL("create table {} ({}, primary key ({}))").format(
                name, sql.SQL(", ").join(columns), sql.SQL(", ").join(keys)
            )
        )
        return name
    wanted = {c.name: column_type(c.dtype) for c in table.columns}
    new = [c for c in table.columns if c.name not in found]
    changed = {n: f"{found[n]} is now {t}" for n, t in wanted.items() if n in found and found[n] != t}
    gone = sorted(set(found) - set(wanted) - {PARTITION})
    if changed or gone or any(not c.optional for c in new):
        raise DamagedData(
            f"table {schema}.{short} was made by another version of neuron_atlas: new columns {[c.name for c in new]}, gone "
            f"{gone}, changed {changed}. Drop it (drop table {schema}.{short}) and materialize {asset} again"
        )
    for column in new:
        connection.execute(sql.SQL("alter table {} add column {}").format(name, _definition(column)))
    return name


def _definition(column: Column) -> sql.Composed:
    kind = sql.SQL(column_type(column.dtype) + ("" if column.optional else " not null"))  # pyright: ignore[reportArgumentType]
    return sql.SQL("{} {}").format(sql.Identifier(column.name), kind)


def _columns(connection: Connection, schema: str, table: str) -> dict[str, str]:
    """Column name to type of a stored table; empty when there is none."""
    rows = connection.execute(
        "select column_name, udt_name from information_schema.columns where table_schema = %s and table_name = %s",
        [schema, table],
    ).fetchall()
    return {name: kind[1:] + "[]" if kind.startswith("_") else kind for name, kind in rows}


# --------------------------------------------------------------------------------------------------------------------- rows
def _copy(connection: Connection, name: sql.Identifier, table: Table, frame: pl.DataFrame, partition: str) -> None:
    """Write a frame's rows with binary COPY."""
    columns = [sql.Identifier(PARTITION), *(sql.Identifier(c.name) for c in table.columns)]
    statement = sql.SQL("copy {} ({}) from stdin with (format binary)").format(name, sql.SQL(", ").join(columns))
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(["text", *(column_type(c.dtype) for c in table.columns)])
        for row in escaped(frame).iter_rows():
            copy.write_row((partition, *row))


def _read(connection: Connection, asset: str, table: Table, partitions: Sequence[str], schema: str) -> pl.DataFrame:
    columns = sql.SQL(", ").join(sql.Identifier(c.name) for c in table.columns)
    query = sql.SQL("select {} from {} where {} = any(%s)").format(
        columns, sql.Identifier(schema, stored_name(asset, table)), sql.Identifier(PARTITION)
    )
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(query, [list(partitions)]).fetchall()
    return table.checked(unescaped(pl.DataFrame(rows, schema=table.schema, orient="row")))


def escaped(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with NUL characters in texts marked, so that PostgreSQL can hold them."""
    return _replaced(frame, [MARK, NUL], [MARKED_MARK, MARKED_NUL])


def unescaped(frame: pl.DataFrame) -> pl.DataFrame:
    """`escaped` undone."""
    return _replaced(frame, [MARKED_NUL, MARKED_MARK], [NUL, MARK])


def _replaced(frame: pl.DataFrame, old: list[str], new: list[str]) -> pl.DataFrame:
    """Leftmost replacement of texts, in text columns and lists of texts."""
    plain = [n for n, t in frame.schema.items() if t == pl.String]
    lists = [n for n, t in frame.schema.items() if t == pl.List(pl.String)]
    return frame.with_columns(
        pl.col(plain).str.replace_many(old, new), pl.col(lists).list.eval(pl.element().str.replace_many(old, new))
    )
