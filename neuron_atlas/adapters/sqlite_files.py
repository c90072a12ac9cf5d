"""SQLite files that several processes share: how they are opened, and one transaction that writes.

The ledger of paid calls, the label store and the vector cache are such files. With write-ahead logging others can read while one
process writes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from neuron_atlas.adapters.files import make_folder
from neuron_atlas.errors import TransientError

BUSY_S = 30.0
"""Seconds to wait for another process that writes."""


def open_sqlite(path: Path, *, any_thread: bool = False) -> sqlite3.Connection:
    """A connection to the file, made when missing, without implicit transactions (see `write_transaction`). With `any_thread` the
    caller locks. Raises `sqlite3.DatabaseError` for what is not a database."""
    make_folder(path.parent)
    path.touch(mode=0o600)
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=not any_thread)
    connection.execute("PRAGMA journal_mode = WAL")
    return connection


@contextmanager
def write_transaction(connection: sqlite3.Connection, path: Path) -> Generator[None]:
    """One transaction on the file `path`, undone when anything in it fails.

    Raises `TransientError` when another process keeps the file busy, or when it cannot be written.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        raise TransientError(f"{path} is busy or cannot be written: {error}. Run again.") from error
    try:
        yield
        connection.execute("COMMIT")
    except BaseException as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if isinstance(error, sqlite3.OperationalError):
            raise TransientError(f"{path} cannot be written: {error}. Free disk space there and run again.") from error
        raise
