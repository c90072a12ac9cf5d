"""A real PostgreSQL for the tests of whatever talks to one: started once, stopped at the end, a fresh database per test."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from neuron_atlas.adapters.postgres import Server, ensure_database, start_embedded, stop_embedded


@pytest.fixture(scope="session")
def outside() -> Iterator[Path]:
    """A folder outside pytest's own. Every session of pytest closes that one to other users, also under the sessions beside
    it; as root, the server is another user."""
    with tempfile.TemporaryDirectory(prefix="atlas-tests-") as folder:
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


@pytest.fixture
def database(server: Server) -> Server:
    """The server with an empty database of this test's own."""
    return ensure_database(server, f"test_{uuid.uuid4().hex[:12]}")
