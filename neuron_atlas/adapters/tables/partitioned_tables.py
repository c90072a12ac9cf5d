"""The declared tables of `core/tables` in a database, partition by partition: what DuckDB and PostgreSQL have in common.

One schema holds one table per declaration, with the partition's key beside the declared columns, and a table `manifests` with
one line per stored partition. A write replaces a partition of an asset, all its tables and its manifest, in one transaction:
readers see the old partition or the new one, never a mixture. What was written can be recognised anywhere: its content hash
is the one that the same rows have as Parquet.

When a declaration has gained optional columns since a table was made, they are added; any other difference is refused.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import polars as pl
from polars._typing import PolarsDataType
from pydantic import TypeAdapter

from neuron_atlas.core.records import Frames
from neuron_atlas.core.tables import Column, Table, tables_of
from neuron_atlas.core.tables.storage import (
    PARTITION,
    AssetFrames,
    CheckedFrames,
    PartitionManifest,
    check_frames,
    new_columns,
    stored_name,
    verified_frame,
    wanted_partitions,
)
from neuron_atlas.errors import DamagedData


class PartitionedTables(ABC):
    """The stored tables of one schema, on one connection. A subclass supplies its database's SQL."""

    database: str
    """The database's name, for messages."""
    types: Mapping[PolarsDataType, str]
    """Declared column type to the database's type."""
    schema: str

    def write(
        self, asset: str, partition: str | None, frames: AssetFrames, *, provenance: Mapping[str, object]
    ) -> PartitionManifest:
        """Replace one partition of an asset (all of it for `partition=None`).

        `frames` holds every table of the asset, and is checked against the declarations first unless it is `CheckedFrames`.
        Raises `DamagedData` when frames or stored tables differ from their declarations, `UnknownName` for another asset.
        """
        checked = check_frames(asset, frames)
        manifest = PartitionManifest(asset, partition, checked.rows, checked.content_hash, dict(provenance))
        key = partition or ""
        with self.transaction():
            self.ensure_manifests()
            self.lock(f"{self.schema}/{asset}/{key}")
            for table in tables_of(asset):
                name = self._ensure_table(asset, table)
                self.delete_rows(name, key)
                self.insert_rows(name, key, table, checked[table.name])
            self.write_manifest(manifest)
        return manifest

    def read(self, asset: str, partitions: Sequence[str] | None = None) -> Frames:
        """The tables of an asset, of the named partitions or (None) of all, sorted by key and checked.

        Raises `Incomplete` when a named partition, or any at all, is missing; `DamagedData` when rows are not those that the
        manifest counted.
        """
        wanted = wanted_partitions(asset, self.partitions(asset), partitions, store=self.database)
        frames: Frames = {}
        for table in tables_of(asset):
            name = stored_name(asset, table)
            found = self.columns(name)
            frame = table.empty()
            if found:
                added = {c.name for c in new_columns(self._shown(name), asset, table, found, self.types_of(table))}
                held = [c for c in table.columns if c.name not in added]
                frame = self.select_rows(name, held, list(wanted)).with_columns(pl.lit(None).alias(n) for n in added)
            frames[table.name] = verified_frame(asset, table, frame, wanted)
        return frames

    def partitions(self, asset: str) -> list[PartitionManifest]:
        """Every stored partition of an asset, by name; empty when none. Raises `UnknownName`."""
        tables_of(asset)
        if not self.columns("manifests"):
            return []
        return sorted(self.read_manifests(asset), key=lambda m: m.partition or "")

    def find(self, asset: str, partition: str | None) -> PartitionManifest | None:
        """What is stored of one partition, or None."""
        return next((m for m in self.partitions(asset) if m.partition == partition), None)

    def damage(self, asset: str, partition: str | None, *, thorough: bool = False) -> str | None:
        """What is wrong with a stored partition; None when nothing is, and when nothing is stored.

        Rows are counted against the manifest; with `thorough` they are read and the hash of their content is compared.
        """
        try:
            manifest = self.find(asset, partition)
            if manifest is None:
                return None
            for table in tables_of(asset):
                name, expected = stored_name(asset, table), manifest.rows.get(table.name, 0)
                found = self.count_rows(name, partition or "") if self.columns(name) else 0
                if found != expected:
                    return f"{self._shown(name)} has {found} rows of {partition or 'all'}; its manifest says {expected}"
            if (
                thorough
                and CheckedFrames(asset, self.read(asset, [partition or ""])).content_hash != manifest.content_hash
            ):
                return f"the rows of {asset} {partition or ''} are not those that were stored".replace("  ", " ")
        except DamagedData as error:
            return str(error)
        return None

    def drop(self, asset: str, partition: str | None) -> bool:
        """Forget one partition; False when it was not there."""
        try:
            if self.find(asset, partition) is None:
                return False
        except DamagedData:
            pass  # a manifest that cannot be read goes as well
        with self.transaction():
            for table in tables_of(asset):
                if self.columns(stored_name(asset, table)):
                    self.delete_rows(stored_name(asset, table), partition or "")
            self.delete_manifest(asset, partition)
        return True

    def drop_tables(self, asset: str) -> None:
        """Drop every table of an asset with all its partitions, whatever state they are in."""
        with self.transaction():
            for table in tables_of(asset):
                self.drop_table(stored_name(asset, table))
            if self.columns("manifests"):
                self.delete_manifests(asset)

    def column_type(self, dtype: pl.DataType) -> str:
        """The database's type for a declared one, e.g. `SMALLINT`, `text[]`."""
        return self.types[dtype.inner] + "[]" if isinstance(dtype, pl.List) else self.types[dtype]

    def types_of(self, table: Table) -> dict[str, str]:
        """Column name to the database's type, as declared."""
        return {c.name: self.column_type(c.dtype) for c in table.columns}

    def _ensure_table(self, asset: str, table: Table) -> str:
        """The stored table's name; it is made when missing, and gets the optional columns that its declaration has gained."""
        name, types = stored_name(asset, table), self.types_of(table)
        found = self.columns(name)
        if found.keys() == {*types, PARTITION} and all(found[n] == kind for n, kind in types.items()):
            return name
        self.lock(f"{self.schema}.{name}")
        found = self.columns(name)
        if not found:
            self.create_table(name, table)
            return name
        for column in new_columns(self._shown(name), asset, table, found, types):
            self.add_column(name, column)
        return name

    def _shown(self, name: str) -> str:
        return f"{self.schema}.{name}"

    # ------------------------------------------------------------------------------------------ what a database does its own way
    def transaction(self) -> AbstractContextManager[None]:
        """All of the block, or nothing of it; by default the caller's own transaction."""
        return nullcontext()

    def lock(self, what: str) -> None:
        """Let one transaction at a time continue with `what`. By default nothing, for a database with one writer anyway."""
        return

    @abstractmethod
    def columns(self, name: str) -> dict[str, str]:
        """Column name to type of a stored table; empty when there is none."""

    @abstractmethod
    def create_table(self, name: str, table: Table) -> None:
        """Make the table, with the partition's key as its first column."""

    @abstractmethod
    def add_column(self, name: str, column: Column) -> None:
        """Add an optional column."""

    @abstractmethod
    def drop_table(self, name: str) -> None:
        """Drop a table if it exists."""

    @abstractmethod
    def delete_rows(self, name: str, partition: str) -> None:
        """Delete a partition's rows."""

    @abstractmethod
    def insert_rows(self, name: str, partition: str, table: Table, frame: pl.DataFrame) -> None:
        """Append a frame's rows to a partition."""

    @abstractmethod
    def select_rows(self, name: str, columns: Sequence[Column], partitions: Sequence[str]) -> pl.DataFrame:
        """These columns of the rows of some partitions, in any order of rows."""

    @abstractmethod
    def count_rows(self, name: str, partition: str) -> int:
        """How many rows of a partition a table holds."""

    @abstractmethod
    def ensure_manifests(self) -> None:
        """Make the schema and its table `manifests` when missing."""

    @abstractmethod
    def read_manifests(self, asset: str) -> list[PartitionManifest]:
        """The manifests of an asset, in any order."""

    @abstractmethod
    def write_manifest(self, manifest: PartitionManifest) -> None:
        """Store a manifest, in the place of the partition's former one."""

    @abstractmethod
    def delete_manifests(self, asset: str) -> None:
        """Delete the manifests of all partitions of an asset."""

    @abstractmethod
    def delete_manifest(self, asset: str, partition: str | None) -> None:
        """Delete a partition's manifest."""


def manifest_of_row(
    asset: str, partition: str, rows: object, content_hash: object, provenance: object
) -> PartitionManifest:
    """A manifest from its row; JSON may come as text or parsed. Raises `DamagedData` for what is no manifest."""
    try:
        counts, made = (json.loads(value) if isinstance(value, str) else value for value in (rows, provenance))
        fields = {"asset": asset, "partition": partition or None, "rows": counts, "content_hash": content_hash}
        text = json.dumps({**fields, "provenance": made})
        return TypeAdapter(PartitionManifest).validate_json(text, strict=True)
    except (ValueError, RecursionError) as error:
        raise DamagedData(
            f"the manifest of {asset} {partition} cannot be read: {str(error).splitlines()[0]}. Make it again: neuron-atlas "
            f"materialize {asset}"
        ) from error
