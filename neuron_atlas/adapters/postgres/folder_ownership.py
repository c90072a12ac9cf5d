"""Whether a live PostgreSQL server serves the data of a folder: this folder, not one that it was copied from.

A process id cannot tell. `postmaster.pid` is copied with a folder, survives a crash or a reboot, counts in another container's
numbers, and its number may belong to any program by now. So the server inherits a lock on `folder/serving`, which the kernel
drops when the server's last process has ended: a copied folder has no such lock, a moved one keeps it, and after a reboot
nobody holds it.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil

from neuron_atlas.errors import TransientError

SOCKET_NAME = ".s.PGSQL.5432"


def postmaster_lines(data: Path) -> list[str]:
    """The lines of postmaster.pid: pid, data folder, start time, port, socket folder, host, memory, status."""
    try:
        return (data / "postmaster.pid").read_text(errors="replace").splitlines()
    except OSError:
        return []


@contextmanager
def serving_lock(folder: Path) -> Generator[int]:
    """The file whose lock says that a server of this folder lives, open for the length of the block."""
    file = os.open(folder / "serving", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield file
    finally:
        os.close(file)  # not unlocked: a server that inherited it goes on holding the lock


def is_served(folder: Path) -> bool:
    """Whether a live server serves the data of this very folder.

    The kernel answers: the server holds a lock on a file of the folder. Where there is none, a process may still be found that
    was started by an older release: it counts when the folder it works in is this one (same device and inode).
    """
    data = folder / "data"
    if not data.is_dir():
        return False
    with serving_lock(folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return server_pid(data) is not None


def is_usable(folder: Path) -> bool:
    """Whether the folder's server can be used; waits for the processes of a killed server to end.

    Raises `TransientError` when some process still serves the folder but nothing answers.
    """
    data, deadline = folder / "data", time.monotonic() + 10
    while is_served(folder):
        if _answers(data):
            return True
        if time.monotonic() > deadline:
            raise TransientError(
                f"the PostgreSQL of {folder} is held by processes that do not answer, perhaps in another container that "
                "shares this folder; stop them (neuron-atlas stop), or use a folder of its own (NEURON_ATLAS_HOME)"
            )
        time.sleep(0.05)
    return False


def _answers(data: Path) -> bool:
    """Whether something listens at the recorded socket; a server of another container has no process that we could see."""
    place = socket_folder_of(data)
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str((place or data) / SOCKET_NAME))
        except OSError:
            return False
    return True


def server_pid(data: Path) -> int | None:
    """The process that `postmaster.pid` names, if it works in this very folder; else None.

    The file alone says nothing: it may have been copied with the folder, be left from before a crash or a reboot, or count
    processes of another container, and its number may belong to any program by now.
    """
    lines = postmaster_lines(data)
    try:
        process = psutil.Process(int(lines[0]))
        if process.status() == psutil.STATUS_ZOMBIE or not os.path.samefile(process.cwd(), data):
            return None
    except (IndexError, ValueError, OSError, psutil.Error):
        return None
    return process.pid


def socket_folder_of(data: Path) -> Path | None:
    """Where the running server's socket lies now; a socket in the data folder moves with it."""
    lines = postmaster_lines(data)
    if len(lines) < 5 or not lines[4].strip():
        return None
    recorded = Path(lines[4].strip())
    return data if recorded == Path(lines[1].strip()) else recorded
