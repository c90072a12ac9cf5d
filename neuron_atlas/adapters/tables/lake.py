"""The lake: tables of assets as Parquet, a partition at a time, visible only when complete.

    <root>/<asset>/<partition>/manifest.json          what is published; replaced by one rename
    <root>/<asset>/<partition>/<content hash>/*.parquet    one file per table

Publishing writes the new folder, flushes it, and only then replaces the manifest, so the old partition stays valid when a writer
is killed. The previous version's folder stays until the next publish, for readers that still scan it. A manifest holds row
counts, the sha256 of every file, schemas and provenance; a file that no longer matches is refused (`DamagedData`).
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl
from filelock import FileLock, Timeout

from neuron_atlas.adapters.files import file_sha256, make_folder, staged_folder, write_atomically, write_parquet
from neuron_atlas.core.records import Tables
from neuron_atlas.core.tables import tables_of
from neuron_atlas.core.tables.storage import AssetFrames, check_frames
from neuron_atlas.errors import BadInput, DamagedData, Incomplete, TransientError

WHOLE = "all"
"""The partition name of an asset without partitions."""

_PARTITION = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")


@dataclass(frozen=True, slots=True)
class TableFile:
    """One table in a manifest."""

    rows: int
    bytes: int
    sha256: str
    columns: dict[str, str]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a published partition holds and where it came from."""

    asset: str
    partition: str
    content_hash: str
    tables: dict[str, TableFile]
    provenance: dict[str, str]

    @property
    def rows(self) -> int:
        """Rows over all tables."""
        return sum(t.rows for t in self.tables.values())

    @property
    def bytes(self) -> int:
        """Bytes on disk over all tables."""
        return sum(t.bytes for t in self.tables.values())


class Lake:
    """Parquet storage of assets below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._verified: set[tuple[str, int, int]] = set()

    def folder(self, asset: str, partition: str | None = None) -> Path:
        """Where a partition lives; raises `BadInput` on a name that is not a plain folder name."""
        name = partition or WHOLE
        if not _PARTITION.match(name) or not _PARTITION.match(asset):
            raise BadInput(f"{asset}/{name} is not a valid asset partition; expected letters, digits, - and _")
        return self.root / asset / name

    def publish(
        self,
        asset: str,
        partition: str | None,
        frames: AssetFrames,
        *,
        provenance: Mapping[str, str] | None = None,
    ) -> Manifest:
        """Make the frames the partition's content, all or nothing.

        They are checked against the asset's declarations first unless they are `CheckedFrames`. Raises `DamagedData` when they
        differ from them, `BadInput` on a partition that is no plain folder name, `UserError` when the folder cannot be made.
        """
        checked = check_frames(asset, frames)
        content_hash = checked.content_hash
        folder = make_folder(self.folder(asset, partition))
        files: dict[str, TableFile] = {}
        with staged_folder(folder / content_hash) as staging:
            for name, frame in checked.items():
                path = staging / f"{name}.parquet"
                write_parquet(frame, path)
                columns = {column: str(dtype) for column, dtype in frame.schema.items()}
                files[name] = TableFile(frame.height, path.stat().st_size, file_sha256(path), columns)
        previous = self._read_manifest(folder)
        manifest = Manifest(asset, partition or WHOLE, content_hash, files, dict(provenance or {}))
        write_atomically(folder / "manifest.json", json.dumps(asdict(manifest), indent=1, sort_keys=True))
        keep = {content_hash, previous.content_hash if previous else ""}
        for child in folder.iterdir():
            if child.is_dir() and child.name not in keep:
                shutil.rmtree(child, ignore_errors=True)
        return manifest

    def manifest(self, asset: str, partition: str | None = None) -> Manifest | None:
        """The manifest of a published partition, or None."""
        return self._read_manifest(self.folder(asset, partition))

    def partitions(self, asset: str) -> list[str]:
        """Published partitions, sorted."""
        return sorted(p.parent.name for p in (self.root / asset).glob("*/manifest.json"))

    def scan(self, asset: str, partitions: Sequence[str | None] | None = None) -> Tables:
        """The tables of one asset over some partitions (default: all published ones), as lazy frames.

        Raises `Incomplete` when a named partition is not published and `DamagedData` when a file fails its checksum.
        """
        names = self.partitions(asset) if partitions is None else list(partitions)
        paths: dict[str, list[Path]] = {table.name: [] for table in tables_of(asset)}
        for partition in names:
            manifest = self.manifest(asset, partition)
            if manifest is None:
                where = f"--partition {partition}" if partition else ""
                raise Incomplete(
                    f"{asset} {partition or ''} has not been materialized yet; expected it below {self.root}. "
                    f"Run: dagster asset materialize -m neuron_atlas.definitions --select {asset} {where}".rstrip()
                )
            self.verify(manifest)
            for name, files in paths.items():
                files.append(self.folder(asset, partition) / manifest.content_hash / f"{name}.parquet")
        return {
            table.name: pl.scan_parquet(paths[table.name]) if names else table.empty().lazy()
            for table in tables_of(asset)
        }

    def verify(self, manifest: Manifest) -> None:
        """Compare every file of a partition with its manifest (once per file and process)."""
        for name, expected in manifest.tables.items():
            path = self.folder(manifest.asset, manifest.partition) / manifest.content_hash / f"{name}.parquet"
            if not path.exists():
                raise DamagedData(f"{path} is gone; rerun {manifest.asset} for partition {manifest.partition!r}")
            stat = path.stat()
            seen = (str(path), stat.st_mtime_ns, stat.st_size)
            if seen in self._verified:
                continue
            found = file_sha256(path)
            if found != expected.sha256:
                raise DamagedData(
                    f"{path} is damaged: sha256 {found[:12]}…, expected {expected.sha256[:12]}…. "
                    f"Rerun {manifest.asset} for partition {manifest.partition!r}; no other partition is affected"
                )
            self._verified.add(seen)

    @contextmanager
    def claim(self, asset: str, partition: str | None = None) -> Generator[Path]:
        """Hold a partition for writing; yields a folder for unfinished work that survives a crash.

        Raises `TransientError` when another process holds it. The kernel releases the lock when the process that took it ends,
        however it ends.
        """
        work = make_folder(self.root / ".work" / asset / (partition or WHOLE))
        lock = FileLock(work / "lock", blocking=False)
        try:
            lock.acquire()
        except Timeout as error:
            raise TransientError(
                f"another process is working on {asset} {partition or ''}; wait for it, or stop it, and run again"
            ) from error
        try:
            yield work
        finally:
            lock.release()

    def _read_manifest(self, folder: Path) -> Manifest | None:
        path = folder / "manifest.json"
        if not path.exists():
            return None
        try:
            fields = json.loads(path.read_text())
            fields["tables"] = {name: TableFile(**table) for name, table in fields["tables"].items()}
            return Manifest(**fields)
        except (ValueError, TypeError, KeyError) as error:
            raise DamagedData(
                f"{path} cannot be read: {error}. Remove the folder {folder} and rerun the asset"
            ) from error
