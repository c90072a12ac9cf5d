"""What every store of declared tables agrees on, so that PostgreSQL and DuckDB hold the same thing under the same names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from neuron_atlas.core.hashing import frames_hash
from neuron_atlas.core.records import Frames
from neuron_atlas.core.tables import ASSETS, Column, Table, tables_of
from neuron_atlas.errors import DamagedData, Incomplete, UnknownName

PARTITION = "partition_key"
"""The column beside the declared ones that says to which partition a row belongs; '' in an asset without partitions."""


@dataclass(frozen=True, slots=True)
class StoredPartition:
    """What a store's `manifests` say of one partition: rows per table, content hash of all its tables, how it was made."""

    asset: str
    partition: str | None
    rows: dict[str, int]
    content_hash: str
    provenance: dict[str, object]


def checked_frames(
    asset: str, partition: str | None, frames: Frames, provenance: Mapping[str, object]
) -> tuple[Frames, StoredPartition]:
    """The frames as their declarations want them, and the manifest they will have.

    Raises `UnknownName` for an asset without declared tables, `DamagedData` when frames and declarations differ.
    """
    tables = tables_of_asset(asset)
    if wrong := {t.name for t in tables} ^ set(frames):
        raise DamagedData(f"asset {asset!r} stores {[t.name for t in tables]}; missing or unexpected: {sorted(wrong)}")
    checked = {t.name: t.checked(frames[t.name]) for t in tables}
    rows = {name: frame.height for name, frame in checked.items()}
    return checked, StoredPartition(asset, partition, rows, frames_hash(checked), dict(provenance))


def tables_of_asset(asset: str) -> Sequence[Table]:
    """The tables an asset stores; raises `UnknownName`."""
    if asset not in ASSETS:
        raise UnknownName("asset", asset, ASSETS)
    return tables_of(asset)


def stored_name(asset: str, table: Table) -> str:
    """The table's own name; with the asset's before it where two assets declare the same table."""
    shared = sum(table in tables for tables in ASSETS.values()) > 1
    return f"{asset}__{table.name}" if shared else table.name


def wanted_partitions(
    asset: str, stored: Sequence[StoredPartition], partitions: Sequence[str] | None, *, store: str
) -> dict[str, StoredPartition]:
    """The named partitions of those stored (all for None), by key. Raises `Incomplete` naming what is missing."""
    by_key = {m.partition or "": m for m in stored}
    wanted = list(by_key) if partitions is None else list(dict.fromkeys(partitions))
    absent = [p for p in wanted if p not in by_key]
    if absent or not by_key:
        what = f"partitions {absent} of {asset!r} are" if absent else f"asset {asset!r} is"
        raise Incomplete(f"{what} not in {store} yet; it has {sorted(by_key) or 'nothing'}. Materialize {asset} first")
    return {p: by_key[p] for p in wanted}


def complete(asset: str, table: Table, frame: pl.DataFrame, wanted: Mapping[str, StoredPartition]) -> pl.DataFrame:
    """The frame that was read, checked; raises `DamagedData` when it does not have the rows its manifests counted."""
    expected = sum(m.rows.get(table.name, 0) for m in wanted.values())  # none of a table declared since
    if frame.height != expected:
        raise DamagedData(
            f"{asset}/{table.name} has {frame.height} rows in partitions {list(wanted)}; its manifest says {expected}. Something "
            f"else wrote there; materialize {asset} again"
        )
    return table.checked(frame)


def new_columns(
    name: str, asset: str, table: Table, found: Mapping[str, str], types: Mapping[str, str]
) -> list[Column]:
    """The optional columns that a declaration has gained since its table was made as `found` (name to type).

    Raises `DamagedData` with the command to run when the table differs in any other way from the declared `types`.
    """
    new = [c for c in table.columns if c.name not in found]
    changed = {n: f"{found[n]} is now {kind}" for n, kind in types.items() if n in found and found[n] != kind}
    gone = sorted(set(found) - set(types) - {PARTITION})
    if changed or gone or any(not c.optional for c in new):
        raise DamagedData(
            f"table {name} was made by another version of neuron_atlas: new columns {[c.name for c in new]}, gone {gone}, "
            f"changed {changed}. Drop it (drop table {name}) and materialize {asset} again"
        )
    return new
