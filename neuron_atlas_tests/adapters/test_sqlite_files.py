"""One way to write a shared SQLite file: all or nothing, and a busy file is a temporary failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from neuron_atlas.adapters import sqlite_files
from neuron_atlas.adapters.sqlite_files import open_sqlite, write_transaction
from neuron_atlas.errors import BadInput, TransientError


def test_a_transaction_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "x.sqlite"
    connection = open_sqlite(path)
    with write_transaction(connection, path):
        connection.execute("CREATE TABLE numbers (n INTEGER)")

    def fail() -> None:
        with write_transaction(connection, path):
            connection.execute("INSERT INTO numbers VALUES (1)")
            raise BadInput("no")

    with pytest.raises(BadInput):
        fail()
    with write_transaction(connection, path):
        connection.execute("INSERT INTO numbers VALUES (2)")
    assert connection.execute("SELECT n FROM numbers").fetchall() == [(2,)]


def test_a_file_that_another_writes_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_files, "BUSY_S", 0.01)
    path = tmp_path / "x.sqlite"
    one, other = open_sqlite(path), open_sqlite(path)
    with (
        write_transaction(one, path),
        pytest.raises(TransientError, match=r"x\.sqlite is busy or cannot be written.*Run again"),
        write_transaction(other, path),
    ):
        pytest.fail("two at once")
