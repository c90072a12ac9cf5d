"""One way to put an asset's tables away and to find them again, whatever holds them.

A store keeps the tables of an asset, a partition at a time, with a content hash and the recipe they were made from (see
recipes.py). Four of them: the Parquet lake, the working DuckDB file, Postgres, and `Published` for what an asset wrote
by itself (the atlas file, the search database), of which only the record is kept here.

The working DuckDB file is opened for the length of one read or write and never held: DuckDB admits one writing process at
a time. dagster-duckdb's resource waits with growing pauses for whoever has it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dagster_duckdb import DuckDBResource

from neuron_atlas.adapters.files import make_folder, write_atomically
from neuron_atlas.adapters.tables.lake import Lake, Manifest
from neuron_atlas.core.records import Frames, Tables
from neuron_atlas.core.tables import tables_of
from neuron_atlas.core.tables.storage import StoredPartition
from neuron_atlas.errors import BadInput, DamagedData, TransientError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from neuron_atlas.adapters.postgres import Server


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store says of one partition: its content, its size, where it lies and what it was made from."""

    content_hash: str
    rows: Mapping[str, int]
    place: str
    recipe: Mapping[str, str]


class Store(Protocol):
    """Tables of assets, by partition (None for an asset in one piece)."""

    def write(self, asset: str, partition: str | None, frames: Frames, recipe: Mapping[str, str]) -> Stored:
        """Replace one partition, all or nothing."""
        ...

    def read(self, asset: str, partitions: Sequence[str | None]) -> Tables:
        """The tables over some partitions; raises `Incomplete` when one is missing."""
        ...

    def find(self, asset: str, partition: str | None) -> Stored | None:
        """What is stored of one partition, or None."""
        ...


class LakeStore:
    """Parquet files below a folder, see adapters/lake.py."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake

    def write(self, asset: str, partition: str | None, frames: Frames, recipe: Mapping[str, str]) -> Stored:
        return self._stored(self.lake.publish(asset, partition, frames, provenance=recipe))

    def read(self, asset: str, partitions: Sequence[str | None]) -> Tables:
        return self.lake.scan(asset, partitions)

    def find(self, asset: str, partition: str | None) -> Stored | None:
        manifest = self.lake.manifest(asset, partition)
        return None if manifest is None else self._stored(manifest)

    def _stored(self, manifest: Manifest) -> Stored:
        rows = {name: table.rows for name, table in manifest.tables.items()}
        place = self.lake.folder(manifest.asset, manifest.partition) / manifest.content_hash
        return Stored(manifest.content_hash, rows, str(place), manifest.provenance)


class DuckDBStore:
    """The working DuckDB file, through dagster-duckdb's resource."""

    def __init__(self, resource: DuckDBResource) -> None:
        self.resource = resource
        self.path = Path(resource.database)

    def write(self, asset: str, partition: str | None, frames: Frames, recipe: Mapping[str, str]) -> Stored:
        from neuron_atlas.adapters.tables.duckdb_tables import write_partition

        make_folder(self.path.parent)
        with self._open() as connection:
            return self._stored(write_partition(connection, asset, partition, frames, provenance=recipe))

    def read(self, asset: str, partitions: Sequence[str | None]) -> Tables:
        from neuron_atlas.adapters.tables.duckdb_tables import read_partitions

        if not partitions:
            return _no_tables(asset)
        with self._open() as connection:
            frames = read_partitions(connection, asset, [partition or "" for partition in partitions])
        return {name: frame.lazy() for name, frame in frames.items()}

    def find(self, asset: str, partition: str | None) -> Stored | None:
        from neuron_atlas.adapters.tables.duckdb_tables import list_partitions

        if not self.path.exists():
            return None
        with self._open() as connection:
            found = [m for m in list_partitions(connection, asset) if m.partition == partition]
        return self._stored(found[0]) if found else None

    @contextmanager
    def _open(self) -> Iterator[DuckDBPyConnection]:
        """A connection for one piece of work, closed whatever happens in it."""
        import duckdb

        try:
            opened = self.resource.get_connection()
            connection = opened.__enter__()
        except duckdb.IOException as error:
            raise TransientError(
                f"{self.path} stayed in use by another process; run again when it has ended. {error}"
            ) from error
        try:
            yield connection
        finally:
            connection.close()

    def _stored(self, manifest: StoredPartition) -> Stored:
        return _from_manifest(manifest, str(self.path))


class PostgresStore:
    """Tables in Postgres; one connection and one transaction per piece of work, repeated when the server was busy."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def write(self, asset: str, partition: str | None, frames: Frames, recipe: Mapping[str, str]) -> Stored:
        from neuron_atlas.adapters.tables.postgres_tables import write_partition

        written = self.server.run(lambda c: write_partition(c, asset, partition, frames, provenance=recipe))
        return _from_manifest(written, self.server.where)

    def read(self, asset: str, partitions: Sequence[str | None]) -> Tables:
        from neuron_atlas.adapters.tables.postgres_tables import read_partitions

        if not partitions:
            return _no_tables(asset)
        keys = [partition or "" for partition in partitions]
        frames = self.server.run(lambda c: read_partitions(c, asset, keys), read_only=True)
        return {name: frame.lazy() for name, frame in frames.items()}

    def find(self, asset: str, partition: str | None) -> Stored | None:
        from neuron_atlas.adapters.tables.postgres_tables import list_partitions

        manifests = self.server.run(lambda c: list_partitions(c, asset), read_only=True)
        found = [m for m in manifests if m.partition == partition]
        return _from_manifest(found[0], self.server.where) if found else None


def _from_manifest(manifest: StoredPartition, place: str) -> Stored:
    recipe = {name: str(entry) for name, entry in manifest.provenance.items()}
    return Stored(manifest.content_hash, manifest.rows, place, recipe)


def _no_tables(asset: str) -> Tables:
    """What reading no partition at all gives: the top layer has no later one."""
    return {table.name: table.empty().lazy() for table in tables_of(asset)}


class Published:
    """Records of what was published elsewhere: `<folder>/<asset>.json`, valid while `is_there(asset)`."""

    def __init__(self, folder: Path, is_there: Callable[[str], bool]) -> None:
        self.folder = folder
        self.is_there = is_there

    def record(self, asset: str, stored: Stored) -> None:
        """Remember what was published; replaces the former record in one step."""
        write_atomically(
            make_folder(self.folder) / f"{asset}.json", json.dumps(asdict(stored), indent=1, sort_keys=True)
        )

    def write(self, asset: str, partition: str | None, frames: Frames, recipe: Mapping[str, str]) -> Stored:
        raise BadInput(f"{asset} publishes by itself; expected an asset of the lake, DuckDB or Postgres")

    def read(self, asset: str, partitions: Sequence[str | None]) -> Tables:
        raise BadInput(f"{asset} is published, not a table store; open it with neuron_atlas.open_{asset}")

    def find(self, asset: str, partition: str | None) -> Stored | None:
        path = self.folder / f"{asset}.json"
        if not path.exists() or not self.is_there(asset):
            return None
        try:
            return Stored(**json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise DamagedData(f"{path} cannot be read: {error}. Remove it and materialize {asset} again") from error
