"""The lake: every asset's tables as Parquet, a partition at a time, visible only when complete.

    <root>/<asset>/<partition>/manifest.json         what is published; replaced by one rename
    <root>/<asset>/<partition>/<version>/*.parquet   one file per table; a version is named by its content hash
    <root>/.damaged/                                 partitions that were set aside because a file no longer matched

Publishing writes a new version's folder, flushes it, and only then replaces the manifest, so a killed writer leaves the old
version in force. Content that is in force already is left where it is. A replaced version is removed after the switch, and not
before `READER_SECONDS` have passed, for readers that still scan it. One process at a time publishes a partition.

A manifest holds row counts, schemas, provenance, and for every file its sha256, size, modification time and inode. The last
three tell cheaply that a file is as it was written; where they differ (a copied lake), the checksum decides. A file whose
checksum differs is refused (`DamagedData`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import polars as pl
from filelock import FileLock, Timeout

from neuron_atlas.adapters.files import (
    file_sha256,
    fsync_folder,
    make_folder,
    unused_path,
    write_atomically,
)
from neuron_atlas.adapters.tables.manifest import WHOLE, Manifest, read_manifest, rerun_command, write_version
from neuron_atlas.core.records import Tables
from neuron_atlas.core.tables import tables_of
from neuron_atlas.core.tables.storage import AssetFrames, check_frames
from neuron_atlas.errors import BadInput, DamagedData, Incomplete, TransientError

READER_SECONDS = 3600.0
"""How long a replaced version is kept for readers that began before the switch."""
PUBLISH_SECONDS = 600
"""How long a process waits for another one that publishes the same partition."""
SCAN_TRIES = 5
"""How often a scan looks again when versions are switched under it."""

_PARTITION = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")


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

    def version(self, manifest: Manifest) -> Path:
        """The folder that holds a manifest's files."""
        return self.folder(manifest.asset, manifest.partition) / (manifest.version or manifest.content_hash)

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
        differ from them, `BadInput` on a partition that is no plain folder name, `UserError` when the folder cannot be made,
        `TransientError` when another process publishes the same partition for too long.
        """
        checked = check_frames(asset, frames)
        folder = make_folder(self.folder(asset, partition))
        with self._publishing(asset, partition):
            previous = self._previous(folder)
            if previous is not None and previous.content_hash == checked.content_hash and self._is_sound(previous):
                version, files = self.version(previous), previous.tables
            else:
                version = unused_path(folder, checked.content_hash)
                files = write_version(version, checked)
            name = partition or WHOLE
            manifest = Manifest(asset, name, checked.content_hash, files, dict(provenance or {}), version.name)
            if manifest != previous:
                write_atomically(folder / "manifest.json", json.dumps(asdict(manifest), indent=1, sort_keys=True))
            if previous is not None and self.version(previous) != version and self.version(previous).is_dir():
                os.utime(self.version(previous))  # replaced now: the time from which it is kept for its readers alone
            _remove_replaced(folder, in_force=version.name)
        return manifest

    def manifest(self, asset: str, partition: str | None = None) -> Manifest | None:
        """The manifest of a published partition, or None."""
        return read_manifest(self.folder(asset, partition))

    def partitions(self, asset: str) -> list[str]:
        """Published partitions, sorted."""
        return sorted(p.parent.name for p in (self.root / asset).glob("*/manifest.json"))

    def scan(self, asset: str, partitions: Sequence[str | None] | None = None) -> Tables:
        """The tables of one asset over some partitions (default: all published ones), as lazy frames.

        Raises `Incomplete` when a named partition is not published and `DamagedData` when a file fails its checksum.
        """
        for _ in range(SCAN_TRIES - 1):
            try:
                return self._scan(asset, partitions)
            except _MissingFile:
                continue  # perhaps a writer switched versions between the manifest and the files
        return self._scan(asset, partitions)

    def _scan(self, asset: str, partitions: Sequence[str | None] | None) -> Tables:
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
                files.append(self.version(manifest) / f"{name}.parquet")
        return {
            table.name: pl.scan_parquet(paths[table.name]) if names else table.empty().lazy()
            for table in tables_of(asset)
        }

    def verify(self, manifest: Manifest, *, again: bool = False) -> None:
        """Compare the checksum of every file of a partition with its manifest: once per file and process, or `again`.

        Raises `DamagedData` with the command that makes the partition again.
        """
        command = rerun_command(manifest.asset, manifest.partition)
        for name, expected in manifest.tables.items():
            path = self.version(manifest) / f"{name}.parquet"
            try:
                stat = path.stat()
                seen = (str(path), stat.st_mtime_ns, stat.st_size)
                if seen in self._verified and not again:
                    continue
                found = file_sha256(path)
            except FileNotFoundError as error:
                raise _MissingFile(f"{path} is gone. Make it again: {command}") from error
            except OSError as error:
                raise DamagedData(f"{path} cannot be read: {error.strerror}. Make it again: {command}") from error
            if found != expected.sha256:
                self._verified.discard(seen)
                raise DamagedData(
                    f"{path} is damaged: sha256 {found[:12]}…, expected {expected.sha256[:12]}…. Make it again: {command}; "
                    "no other partition is affected"
                )
            self._verified.add(seen)

    def damage(self, asset: str, partition: str | None = None, *, thorough: bool = False) -> str | None:
        """What is wrong with a published partition; None when nothing is, and when nothing is published.

        Files with the size, modification time and inode of the manifest count as sound. Others, and with `thorough` all, are
        read and their checksums compared.
        """
        try:
            manifest = self.manifest(asset, partition)
            if manifest is not None and (thorough or not self._is_untouched(manifest)):
                self.verify(manifest, again=thorough)
        except DamagedData as error:
            return str(error)
        return None

    def set_aside(self, asset: str, partition: str | None = None) -> Path | None:
        """Move a damaged partition to `<root>/.damaged`, so that none is published; returns where it is now.

        None when it is not damaged (any more): another process may have made it again meanwhile.
        """
        folder = self.folder(asset, partition)
        with self._publishing(asset, partition):
            if self.damage(asset, partition, thorough=True) is None:
                return None
            target = unused_path(make_folder(self.root / ".damaged"), f"{asset}@{partition or WHOLE}")
            os.rename(folder, target)
            fsync_folder(folder.parent)
        return target

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

    @contextmanager
    def _publishing(self, asset: str, partition: str | None) -> Generator[None]:
        """Hold a partition while its versions are switched; other processes wait. Raises `TransientError`."""
        work = make_folder(self.root / ".work" / asset / (partition or WHOLE))
        try:
            with FileLock(work / "publishing", timeout=PUBLISH_SECONDS):
                yield
        except Timeout as error:
            raise TransientError(
                f"another process has been storing {asset} {partition or ''} for {PUBLISH_SECONDS} s; run again later"
            ) from error

    def _is_untouched(self, manifest: Manifest) -> bool:
        """Whether every file has the size, modification time and inode it was written with."""
        for name, expected in manifest.tables.items():
            try:
                stat = (self.version(manifest) / f"{name}.parquet").stat()
            except OSError:
                return False
            if (stat.st_size, stat.st_mtime_ns, stat.st_ino) != (expected.bytes, expected.mtime_ns, expected.inode):
                return False
        return True

    def _is_sound(self, manifest: Manifest) -> bool:
        return self.damage(manifest.asset, manifest.partition, thorough=True) is None

    def _previous(self, folder: Path) -> Manifest | None:
        """The manifest that is to be replaced; None where there is none, or none that can be read."""
        try:
            return read_manifest(folder)
        except DamagedData:
            return None


class _MissingFile(DamagedData):
    """A file that its manifest names is not there: lost, or removed after a newer version was published."""


def _remove_replaced(folder: Path, *, in_force: str) -> None:
    """Remove what killed writers left, and versions that were replaced long ago. The caller holds the partition."""
    for child in folder.iterdir():
        is_unfinished = child.name.startswith(".") and child.name.endswith(".tmp")
        is_old = child.is_dir() and child.name != in_force and time.time() - child.stat().st_mtime > READER_SECONDS
        if child.is_dir() and (is_unfinished or is_old):
            shutil.rmtree(child, ignore_errors=True)
