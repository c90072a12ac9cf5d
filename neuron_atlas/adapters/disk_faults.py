"""A full disk, a quota, a limit on file sizes, a failing or read-only disk: one message, whatever library met it.

Python's files, pyarrow, polars, DuckDB and SQLite each say it in their own way; what they have in common is the operating system's
number or its words for it.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from neuron_atlas.errors import PermanentError

FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
SQLITE = {"database or disk is full": errno.ENOSPC, "disk I/O error": errno.EIO}
LITTLE_BYTES = 1 << 20
_NUMBER = re.compile(r"(?:os error|errno) (\d+)", re.IGNORECASE)


@contextmanager
def disk_faults_explained(folder: Path) -> Generator[None]:
    """Raise a fault of the disk as one `PermanentError` that names the path and what to do; other errors pass unchanged.

    `folder` is where the block writes, for libraries that do not say it.
    """
    try:
        yield
    except Exception as error:
        message = disk_fault(error, folder)
        if message is None:
            raise
        raise PermanentError(message) from error


def disk_fault(error: BaseException, folder: Path) -> str | None:
    """The message for a fault of the disk, or None when the error is something else. Looks at what caused it as well."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        number = _number_of(cause)
        if number is not None:
            named = getattr(cause, "filename", None)
            return _message(number, Path(named) if isinstance(named, str) else folder)
        cause = cause.__cause__ or cause.__context__
    return None


def _number_of(error: BaseException) -> int | None:
    """The operating system's number of a disk fault in one error; None for any other error."""
    if isinstance(error, OSError):
        return error.errno if error.errno in FAULTS else None
    text = str(error)
    found = _NUMBER.search(text)
    if found is not None and int(found[1]) in FAULTS:
        return int(found[1])
    words = {os.strerror(number): number for number in FAULTS} | SQLITE
    return next((number for said, number in words.items() if said in text), None)


def _free_bytes(path: Path) -> int:
    """Free space where a path lies, or would lie."""
    existing = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    return shutil.disk_usage(existing).free


def _message(number: int, path: Path) -> str:
    if number == errno.EIO and _free_bytes(path) < LITTLE_BYTES:
        number = errno.ENOSPC  # SQLite calls both by one name
    advice = {
        errno.ENOSPC: "Free space there",
        errno.EDQUOT: "Free space there, or raise the quota",
        errno.EFBIG: "Raise the limit on file sizes (ulimit -f)",
        errno.EIO: "Check the disk",
        errno.EROFS: "Make it writable, or set NEURON_ATLAS_HOME to another folder",
    }[number]
    return (
        f"cannot write to {path}: {os.strerror(number).lower()}. {advice}, then run the same command again: what was finished is "
        "kept, and nothing half-written was published"
    )
