"""A real PostgreSQL for the tests of whatever talks to one: started once, stopped at the end, empty for each test."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg import sql

from neuron_atlas.adapters.postgres import Server, ensure_database, start_embedded, stop_embedded


@pytest.fixture(scope="session")
def outside() -> Iterator[Path]:
    """A folder outside pytest's own, in memory where there is room: clusters are thousands of files.

    Every session of pytest closes its folder to other users, also under the sessions beside it; as root, the server is
    another user.
    """
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 4 << 30
    with tempfile.TemporaryDirectory(prefix="atlas-tests-", dir=memory if roomy else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def server(outside: Path) -> Iterator[Server]:
    folder = outside / "session"
    server = start_embedded(folder)
    with server.connect(autocommit=True) as connection:  # nobody will miss this data after a power cut
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            connection.execute(f"alter system set {setting} = off")
        connection.execute("select pg_reload_conf()")
    yield server
    stop_embedded(folder)


@pytest.fixture(scope="session")
def _scratch(server: Server) -> Server:
    return ensure_database(server, "scratch")


@pytest.fixture
def database(_scratch: Server) -> Server:
    """A database that is empty but for pgvector: one for all tests, since making one writes hundreds of files."""
    with _scratch.connect() as connection:
        connection.execute("drop schema if exists neuron_atlas, neuron_db cascade")
        tables = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
        for (table,) in tables:
            connection.execute(sql.SQL("drop table {}").format(sql.Identifier(table)))
    return _scratch
