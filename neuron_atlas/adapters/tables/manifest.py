"""What is written of a partition of the lake beside its files: `manifest.json`, and the files of one version."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from neuron_atlas.adapters.files import file_sha256, staged_folder, write_parquet
from neuron_atlas.core.tables.storage import CheckedFrames
from neuron_atlas.errors import DamagedData

_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,128}")

WHOLE = "all"
"""The partition name of an asset without partitions."""


@dataclass(frozen=True, slots=True)
class TableFile:
    """One table in a manifest. Modification time (ns) and inode are 0 in manifests of version 0.1."""

    rows: int
    bytes: int
    sha256: str
    columns: dict[str, str]
    mtime_ns: int = 0
    inode: int = 0


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a published partition holds and where it came from.

    `version` names the folder of its files; it is empty in manifests of version 0.1, where that is the content hash.
    """

    asset: str
    partition: str
    content_hash: str
    tables: dict[str, TableFile]
    provenance: dict[str, str]
    version: str = ""

    @property
    def rows(self) -> int:
        """Rows over all tables."""
        return sum(t.rows for t in self.tables.values())

    @property
    def bytes(self) -> int:
        """Bytes on disk over all tables."""
        return sum(t.bytes for t in self.tables.values())


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a partition's folder, or None. Raises `DamagedData` with the command that makes the partition again."""
    path = folder / "manifest.json"
    try:
        manifest = TypeAdapter(Manifest).validate_json(path.read_bytes(), strict=True)
        if not _is_of(manifest, folder):
            raise ValueError(f"it is of {manifest.asset}/{manifest.partition}, version {manifest.version!r}")
        return manifest
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        command = rerun_command(folder.parent.name, folder.name)
        raise DamagedData(f"{path} cannot be read: {str(error).splitlines()[0]}. Make it again: {command}") from error


def _is_of(manifest: Manifest, folder: Path) -> bool:
    """Whether a manifest is of this folder, and names nothing outside it."""
    names = (manifest.content_hash, manifest.version or manifest.content_hash, *manifest.tables)
    is_here = (manifest.asset, manifest.partition) == (folder.parent.name, folder.name)
    return is_here and all(_PLAIN.fullmatch(name) for name in names)


def rerun_command(asset: str, partition: str) -> str:
    """The command that makes a partition again."""
    return (
        f"neuron-atlas materialize {asset}" + ("" if partition == WHOLE else f" --partition {partition}") + " --verify"
    )


def write_version(folder: Path, frames: CheckedFrames) -> dict[str, TableFile]:
    """Write the files of a new version; the folder is there complete or not at all."""
    files: dict[str, TableFile] = {}
    with staged_folder(folder) as staging:
        for name, frame in frames.items():
            path = staging / f"{name}.parquet"
            write_parquet(frame, path)
            columns = {column: str(dtype) for column, dtype in frame.schema.items()}
            stat = path.stat()
            files[name] = TableFile(
                frame.height, stat.st_size, file_sha256(path), columns, stat.st_mtime_ns, stat.st_ino
            )
    return files
