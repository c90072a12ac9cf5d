"""Writing files so that a reader sees the old version or the new one, never a part of one.

Everything that publishes a file goes through here: write it under another name, flush it to the disk, rename it, flush the folder.
A failed flush aborts the publication: after a failed fsync the kernel may report the next one as successful though the data is
lost, so it is not retried.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import uuid
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from neuron_atlas.errors import UserError

if TYPE_CHECKING:
    import polars as pl

ROW_GROUP = 1 << 20
SMALL_ROWS = 10_000
"""With fewer rows, comparing encodings costs more time than it saves in bytes."""
SAMPLE_ROWS = 1 << 16
"""Rows from the middle of a table on which the encodings of a column are compared."""
ZSTD_LEVEL = 6
DICTIONARY = "DICTIONARY"
"""The encoding that Parquet uses by default."""


def make_folder(folder: Path) -> Path:
    """Create a folder and its parents; raises `UserError` where that is not possible or the folder is not writable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot create the folder {folder}: {error.strerror}. Choose a writable one, e.g. NEURON_ATLAS_HOME=~/atlas"
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(
            f"the folder {folder} is not writable. Change its permissions or set NEURON_ATLAS_HOME to another"
        )
    return folder


def make_private(folder: Path, names: Iterable[str]) -> None:
    """Close a folder, and what stands in it under these names (patterns), to other users: 0700 and 0600.

    Root's folders stay open for passing through, which the embedded PostgreSQL needs: it runs as another user then. What belongs to
    somebody else is left as it is.
    """
    passing = stat.S_IXGRP | stat.S_IXOTH if os.geteuid() == 0 else 0
    for path in (folder, *(found for name in names for found in folder.glob(name))):
        try:
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                path.chmod(stat.S_IRWXU | (stat.S_IMODE(mode) & passing))
            elif stat.S_ISREG(mode):
                path.chmod(stat.S_IRUSR | stat.S_IWUSR)
        except (PermissionError, FileNotFoundError):
            continue


def fsync_file(path: Path) -> None:
    """Flush a file's bytes to the disk."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def fsync_folder(folder: Path) -> None:
    """Flush a folder's entries, so that a rename in it survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_durably(source: Path, target: Path) -> None:
    """Flush `source`, rename it over `target`, flush the folder."""
    fsync_file(source)
    os.replace(source, target)
    fsync_folder(target.parent)


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replace a file's content in one step; readers see the old content or the new."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        replace_durably(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def staged_folder(target: Path) -> Generator[Path]:
    """A folder to fill, renamed to `target` when the block succeeds and removed when it fails.

    If `target` exists, it is moved aside first and removed after the switch.
    """
    staging = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    make_folder(staging)
    try:
        yield staging
        for file in staging.iterdir():
            fsync_file(file)
        fsync_folder(staging)
        replaced = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
        if target.exists():
            os.rename(target, replaced)
        os.rename(staging, target)
        fsync_folder(target.parent)
        shutil.rmtree(replaced, ignore_errors=True)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def unused_path(folder: Path, name: str) -> Path:
    """A path of that name, with a suffix where something is left there from before."""
    return folder / name if not (folder / name).exists() else folder / f"{name}-{uuid.uuid4().hex[:8]}"


def file_sha256(path: Path) -> str:
    """The sha256 of a file, 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_parquet(frame: pl.DataFrame, path: Path) -> None:
    """Write a frame as Parquet (zstd), each column of numbers in the smallest of three encodings, tried on a sample of its rows.

    Values that repeat are encoded by a dictionary, or plainly where zstd finds the repetition itself; values that rarely repeat
    (weights, sums) are split into streams of their first, second ... bytes, since signs and exponents compress and the rest
    does not. Any reader of Parquet reads all three. Small frames always use the dictionary.
    """
    sample = frame.slice(max(0, (frame.height - SAMPLE_ROWS) // 2), SAMPLE_ROWS)
    worth_it = frame.height >= SMALL_ROWS
    numbers = {name for name, dtype in frame.schema.items() if worth_it and dtype.is_numeric()}
    _write(frame, path, {name: _smallest(sample, name) if name in numbers else DICTIONARY for name in frame.columns})


def _smallest(sample: pl.DataFrame, column: str) -> str:
    """The encoding that takes the fewest bytes for one column of a sample."""
    sizes: dict[str, int] = {}
    for encoding in (DICTIONARY, "PLAIN", "BYTE_STREAM_SPLIT"):
        with io.BytesIO() as stream:
            _write(sample.select(column), stream, {column: encoding})
            sizes[encoding] = stream.tell()
    return min(sizes, key=sizes.__getitem__)


def _write(frame: pl.DataFrame, where: Path | io.BytesIO, encodings: Mapping[str, str]) -> None:
    """Written by pyarrow, because polars offers no choice of encoding. `encodings`: column name to Parquet encoding."""
    frame.write_parquet(
        where,
        use_pyarrow=True,
        compression="zstd",
        compression_level=ZSTD_LEVEL,
        row_group_size=ROW_GROUP,
        pyarrow_options={
            "use_dictionary": [name for name, encoding in encodings.items() if encoding == DICTIONARY],
            "column_encoding": {name: encoding for name, encoding in encodings.items() if encoding != DICTIONARY},
        },
    )
