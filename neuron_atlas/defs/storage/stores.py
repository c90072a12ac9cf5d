"""One way to store an asset's tables and to find them again, whatever holds them.

A store keeps the tables of an asset, a partition at a time, with a content hash and their provenance (provenance.py). Four of
them: the Parquet lake, the working DuckDB file, Postgres, and `PublishedRecords` for what an asset wrote by itself (the atlas
file, the search database), of which only a record is kept here.

The working DuckDB file is opened for the length of one read or write and never held: DuckDB admits one writing process at
a time. dagster-duckdb's resource waits with growing pauses for whoever has it.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from dagster_duckdb import DuckDBResource
from pydantic import TypeAdapter, ValidationError

from neuron_atlas.adapters.files import file_sha256, make_folder, unused_path, write_atomically
from neuron_atlas.adapters.tables.lake import Lake
from neuron_atlas.adapters.tables.manifest import Manifest
from neuron_atlas.core.records import Tables
from neuron_atlas.core.tables import tables_of
from neuron_atlas.core.tables.storage import AssetFrames, PartitionManifest
from neuron_atlas.errors import BadInput, DamagedData, Incomplete, PermanentError, TransientError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from neuron_atlas.adapters.postgres import Server
    from neuron_atlas.adapters.tables.partitioned_tables import PartitionedTables

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoredPartition:
    """What a store says of one partition: hash of its content, rows per table, where it is and what it was made from."""

    content_hash: str
    rows: Mapping[str, int]
    location: str
    provenance: Mapping[str, str]


class Store(Protocol):
    """Tables of assets, by partition (None for an asset in one piece)."""

    def write(
        self, asset: str, partition: str | None, frames: AssetFrames, provenance: Mapping[str, str]
    ) -> StoredPartition:
        """Replace one partition, all or nothing. Frames that are not `CheckedFrames` are checked first."""
        ...

    def read(self, asset: str, partitions: Sequence[str | None]) -> Tables:
        """The tables over some partitions; raises `Incomplete` when one is missing."""
        ...

    def find(self, asset: str, partition: str | None) -> StoredPartition | None:
        """What is stored of one partition, or None."""
        ...

    def damage(self, asset: str, partition: str | None, *, thorough: bool = False) -> str | None:
        """What is wrong with a stored partition, or None; looked for cheaply, or `thorough`ly by the hash of its content."""
        ...

    def set_aside(self, asset: str, partition: str | None) -> str:
        """Take a damaged partition out of the store, so that a run makes it again; returns what became of it."""
        ...


class LakeStore:
    """Parquet files below a folder, see adapters/tables/lake.py."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake

    def write(
        self, asset: str, partition: str | None, frames: AssetFrames, provenance: Mapping[str, str]
    ) -> StoredPartition:
        return self._stored(self.lake.publish(asset, partition, frames, provenance=provenance))

    def read(self, asset: str, partitions: Sequence[str | None]) -> Tables:
        return self.lake.scan(asset, partitions)

    def find(self, asset: str, partition: str | None) -> StoredPartition | None:
        manifest = self.lake.manifest(asset, partition)
        return None if manifest is None else self._stored(manifest)

    def damage(self, asset: str, partition: str | None, *, thorough: bool = False) -> str | None:
        return self.lake.damage(asset, partition, thorough=thorough)

    def set_aside(self, asset: str, partition: str | None) -> str:
        target = self.lake.set_aside(asset, partition)
        return "made again by another process" if target is None else f"moved to {target}"

    def _stored(self, manifest: Manifest) -> StoredPartition:
        rows = {name: table.rows for name, table in manifest.tables.items()}
        return StoredPartition(manifest.content_hash, rows, str(self.lake.version(manifest)), manifest.provenance)


class DatabaseStore(ABC):
    """Tables in a database; one connection and one transaction per piece of work."""

    location: str

    @abstractmethod
    def run(self, work: Callable[[PartitionedTables], T], *, read_only: bool = False) -> T:
        """Do one piece of work with the stored tables, on a connection of its own."""

    def write(
        self, asset: str, partition: str | None, frames: AssetFrames, provenance: Mapping[str, str]
    ) -> StoredPartition:
        return self._stored(self.run(lambda tables: tables.write(asset, partition, frames, provenance=provenance)))

    def read(self, asset: str, partitions: Sequence[str | None]) -> Tables:
        if not partitions:  # the top layer has no later one
            return {table.name: table.empty().lazy() for table in tables_of(asset)}
        keys = [partition or "" for partition in partitions]
        frames = self.run(lambda tables: tables.read(asset, keys), read_only=True)
        return {name: frame.lazy() for name, frame in frames.items()}

    def find(self, asset: str, partition: str | None) -> StoredPartition | None:
        found = self.run(lambda tables: tables.find(asset, partition), read_only=True)
        return None if found is None else self._stored(found)

    def damage(self, asset: str, partition: str | None, *, thorough: bool = False) -> str | None:
        try:
            return self.run(lambda tables: tables.damage(asset, partition, thorough=thorough), read_only=True)
        except PermanentError as error:  # what the database itself cannot read
            return str(error)

    def set_aside(self, asset: str, partition: str | None) -> str:
        try:
            self.run(lambda tables: tables.drop(asset, partition))
            return f"removed from {self.location}"
        except PermanentError:  # its rows cannot be deleted one by one
            self.run(lambda tables: tables.drop_tables(asset))
            return f"all tables of {asset} removed from {self.location}"

    def _stored(self, manifest: PartitionManifest) -> StoredPartition:
        provenance = {name: str(entry) for name, entry in manifest.provenance.items()}
        return StoredPartition(manifest.content_hash, manifest.rows, self.location, provenance)


class DuckDBStore(DatabaseStore):
    """The working DuckDB file, through dagster-duckdb's resource."""

    def __init__(self, resource: DuckDBResource) -> None:
        self.resource = resource
        self.path = Path(resource.database)
        self.location = str(self.path)

    def find(self, asset: str, partition: str | None) -> StoredPartition | None:
        return super().find(asset, partition) if self.path.exists() else None

    def damage(self, asset: str, partition: str | None, *, thorough: bool = False) -> str | None:
        if not self.path.exists():
            return None
        return super().damage(asset, partition, thorough=thorough)

    def set_aside(self, asset: str, partition: str | None) -> str:
        """Where the file itself is damaged it is moved away whole, with every asset in it."""
        try:
            return super().set_aside(asset, partition)
        except PermanentError:
            target = unused_path(self.path.parent, f"{self.path.name}.damaged")
            log = self.path.with_name(f"{self.path.name}.wal")
            if log.exists():
                log.rename(target.with_name(f"{target.name}.wal"))
            self.path.rename(target)
            return f"moved to {target}"

    def run(self, work: Callable[[PartitionedTables], T], *, read_only: bool = False) -> T:
        """Raises `Incomplete` when the file is to be read and is not there, else as `_open`."""
        from neuron_atlas.adapters.tables.duckdb_tables import DuckDBTables

        if read_only and not self.path.exists():
            raise Incomplete(f"there is no {self.path} yet; materialize the assets that are stored in it first")
        make_folder(self.path.parent)
        with self._open() as connection:
            return work(DuckDBTables(connection))

    @contextmanager
    def _open(self) -> Iterator[DuckDBPyConnection]:
        """A connection for one piece of work, which reaches nothing outside the file and is closed whatever happens.

        Raises `TransientError` when another process keeps the file in use, `DamagedData` when it is no DuckDB file (any more),
        `BadInput` when it is one of a version that this one does not read.
        """
        import duckdb

        from neuron_atlas.adapters.tables.duckdb_tables import explained_error

        connection: DuckDBPyConnection | None = None
        try:
            connection = self._connect()
            connection.execute("set enable_external_access = false")
            yield connection
        except duckdb.Error as error:
            raise explained_error(error, self.path) from error
        finally:
            if connection is not None:
                connection.close()

    def _connect(self) -> DuckDBPyConnection:
        """The open file. The resource waits for a process that has it in use, but as long, for minutes, for a damaged file to
        recover: so it is asked only where waiting can help.
        """
        import duckdb

        from neuron_atlas.adapters.tables.duckdb_tables import explained_error

        try:  # with the settings of the resource: DuckDB refuses two connections of one process that differ in them
            config = {"custom_user_agent": "dagster", **self.resource.connection_config}
            return duckdb.connect(self.resource.database, config=config)
        except duckdb.IOException as error:
            if not isinstance(explained_error(error, self.path), TransientError):
                raise
            return self.resource.get_connection().__enter__()


class PostgresStore(DatabaseStore):
    """Tables in Postgres; a piece of work is repeated when the server was busy."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.location = server.where

    def run(self, work: Callable[[PartitionedTables], T], *, read_only: bool = False) -> T:
        from neuron_atlas.adapters.tables.postgres_tables import PostgresTables

        return self.server.run(lambda connection: work(PostgresTables(connection)), read_only=read_only)


class PublishedRecords:
    """Records of what was published elsewhere: `<folder>/<asset>.json`.

    `files` names the file that an asset publishes, where it is one: its record counts only while the file is there. Paths are
    those of this home, not those of the home that a record was copied or moved from.
    """

    def __init__(self, folder: Path, files: Mapping[str, Path]) -> None:
        self.folder = folder
        self.files = dict(files)

    def record(self, asset: str, stored: StoredPartition) -> None:
        """Remember what was published; replaces the former record in one step."""
        file = self.files.get(asset)
        fields = {**asdict(stored), FILE: None if file is None else _fingerprint(file)}
        write_atomically(make_folder(self.folder) / f"{asset}.json", json.dumps(fields, indent=1, sort_keys=True))

    def damage(self, asset: str, partition: str | None, *, thorough: bool = False) -> str | None:
        """A published file is held against the size, time, inode and checksum that it was recorded with."""
        try:
            if self.find(asset, partition) is None or asset not in self.files:
                return None
            recorded = self._read(asset).get(FILE)
        except DamagedData as error:
            return str(error)
        path = self.files[asset]
        if not isinstance(recorded, dict) or (not thorough and _stat_of(path) == recorded.get("stat")):
            return None
        try:
            is_sound = file_sha256(path) == recorded.get("sha256")
        except OSError as error:
            return f"{path} cannot be read: {error.strerror}. {_again(asset)}"
        return None if is_sound else f"{path} is damaged: it is not the file that was published. {_again(asset)}"

    def set_aside(self, asset: str, partition: str | None) -> str:
        """Move the record away; the file that it is of is replaced in one step when it is made again."""
        record = self.folder / f"{asset}.json"
        target = unused_path(self.folder, f"{asset}.damaged")
        record.rename(target)
        return f"its record moved to {target}"

    def write(
        self, asset: str, partition: str | None, frames: AssetFrames, provenance: Mapping[str, str]
    ) -> StoredPartition:
        raise BadInput(f"{asset} is published by its own asset; expected an asset of the lake, DuckDB or Postgres")

    def read(self, asset: str, partitions: Sequence[str | None]) -> Tables:
        raise BadInput(f"{asset} is published, not stored as tables; open it with neuron_atlas.open_{asset}")

    def find(self, asset: str, partition: str | None) -> StoredPartition | None:
        file = self.files.get(asset)
        if not (self.folder / f"{asset}.json").exists() or (file is not None and not file.exists()):
            return None
        fields = {FORMER_FIELDS.get(name, name): value for name, value in self._read(asset).items() if name != FILE}
        if file is not None:
            fields["location"] = str(file)
        try:
            return TypeAdapter(StoredPartition).validate_json(json.dumps(fields), strict=True)
        except ValidationError as error:
            raise DamagedData(
                f"the record of {asset} is damaged: {error.errors()[0]['msg']}. {_again(asset)}"
            ) from error

    def _read(self, asset: str) -> dict[str, Any]:
        path = self.folder / f"{asset}.json"
        try:
            fields: object = json.loads(path.read_text())
        except (OSError, ValueError, RecursionError) as error:
            raise DamagedData(f"{path} cannot be read: {error}. {_again(asset)}") from error
        if not isinstance(fields, dict):
            raise DamagedData(f"{path} cannot be read: it is no JSON object. {_again(asset)}")
        return cast("dict[str, Any]", fields)


def _again(asset: str) -> str:
    return f"Make it again: neuron-atlas materialize {asset} --verify"


FORMER_FIELDS = {"place": "location", "recipe": "provenance"}
"""What version 0.1 called fields of a published record."""

FILE = "file"
"""The key of a published record under which the published file is described."""


def _fingerprint(path: Path) -> dict[str, object] | None:
    """The checksum of a published file, and what tells cheaply that it is as it was; None for what is no file."""
    return {"sha256": file_sha256(path), "stat": _stat_of(path)} if path.is_file() else None


def _stat_of(path: Path) -> list[int]:
    """Empty where there is no such file."""
    try:
        stat = path.stat()
    except OSError:
        return []
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino]
