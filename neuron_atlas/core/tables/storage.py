"""What every store of declared tables agrees on, so that Parquet, DuckDB and PostgreSQL hold the same thing under the same names.

`CheckedFrames` is how frames reach a store: they fit the declarations of their asset, and the hash of their content is known.
Making one is the only way to have one, so whoever receives it checks and hashes nothing again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import polars as pl

from neuron_atlas.core.hashing import frames_hash
from neuron_atlas.core.tables import ASSETS, Column, Table, tables_of
from neuron_atlas.errors import DamagedData, Incomplete

PARTITION = "partition_key"
"""The column beside the declared ones that says to which partition a row belongs; '' in an asset without partitions."""


AssetFrames: TypeAlias = Mapping[str, pl.DataFrame]
"""The frames of one asset by table name, checked or not."""


class CheckedFrames(AssetFrames):
    """The frames of one asset by table name, each as `Table.checked` returns it, and the hash of their content.

    Raises `UnknownName` for an asset without declared tables, `DamagedData` when frames and declarations differ.
    """

    __slots__ = ("_frames", "asset", "content_hash")

    def __init__(self, asset: str, frames: AssetFrames) -> None:
        tables = tables_of(asset)
        if wrong := {t.name for t in tables} ^ set(frames):
            raise DamagedData(
                f"asset {asset!r} stores {[t.name for t in tables]}; missing or unexpected: {sorted(wrong)}"
            )
        self.asset = asset
        self._frames = {t.name: t.checked(frames[t.name]) for t in tables}
        self.content_hash = frames_hash(self._frames)

    def __getitem__(self, table: str) -> pl.DataFrame:
        return self._frames[table]

    def __iter__(self) -> Iterator[str]:
        return iter(self._frames)

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def rows(self) -> dict[str, int]:
        """Table name to number of rows."""
        return {name: frame.height for name, frame in self._frames.items()}


def check_frames(asset: str, frames: AssetFrames) -> CheckedFrames:
    """The frames as an asset's declarations want them; those that are `CheckedFrames` of this asset already come back as they are.

    Raises like `CheckedFrames`.
    """
    if isinstance(frames, CheckedFrames) and frames.asset == asset:
        return frames
    return CheckedFrames(asset, frames)


@dataclass(frozen=True, slots=True)
class PartitionManifest:
    """What a database records of one stored partition: rows per table, content hash of all its tables, and its provenance."""

    asset: str
    partition: str | None
    rows: dict[str, int]
    content_hash: str
    provenance: dict[str, object]


def stored_name(asset: str, table: Table) -> str:
    """The table's own name; with the asset's before it where two assets declare the same table."""
    shared = sum(table in tables for tables in ASSETS.values()) > 1
    return f"{asset}__{table.name}" if shared else table.name


def wanted_partitions(
    asset: str, stored: Sequence[PartitionManifest], partitions: Sequence[str] | None, *, store: str
) -> dict[str, PartitionManifest]:
    """The named partitions of those stored (all for None), by key. Raises `Incomplete` naming what is missing."""
    by_key = {m.partition or "": m for m in stored}
    wanted = list(by_key) if partitions is None else list(dict.fromkeys(partitions))
    absent = [p for p in wanted if p not in by_key]
    if absent or not by_key:
        what = f"partitions {absent} of {asset!r} are" if absent else f"asset {asset!r} is"
        raise Incomplete(f"{what} not in {store} yet; it has {sorted(by_key) or 'nothing'}. Materialize {asset} first")
    return {p: by_key[p] for p in wanted}


def verified_frame(
    asset: str, table: Table, frame: pl.DataFrame, wanted: Mapping[str, PartitionManifest]
) -> pl.DataFrame:
    """A frame that was read, checked; raises `DamagedData` when it does not have the rows that its manifests counted."""
    expected = sum(m.rows.get(table.name, 0) for m in wanted.values())  # a table declared since counts none
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
