"""A few connections that threads share, for many short queries.

Opening a connection takes longer than most queries. psycopg's own pool opens them in background threads, so that a server
that does not answer shows as a timeout without a reason; here the caller opens them and gets the reason at once.

When a connection turns out to be lost (the server was restarted) every idle one is dropped, and the work runs again on a new
one (`Transactions.run`).
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager

import psycopg

from neuron_atlas.adapters.postgres.server import Connection, Server, Transactions
from neuron_atlas.errors import TransientError

SIZE = 8
WAIT_S = 30.0
"""How long a thread waits for a connection while others have them all."""


class Pool(Transactions):
    """Connections to one server; any thread may use it."""

    def __init__(
        self,
        server: Server,
        *,
        size: int = SIZE,
        prepare: Callable[[Connection], object] | None = None,
    ) -> None:
        """At most `size` connections; `prepare` is called with each new one."""
        self.server = server
        self._prepare = prepare
        self._free = threading.Semaphore(size)
        self._idle: list[Connection] = []
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._idle)

    @contextmanager
    def connect(self, *, read_only: bool = False, timeout_ms: int | None = None) -> Generator[Connection]:
        """A connection for one transaction: committed when the block succeeds, rolled back when it raises. Raises as
        `Server.connect` does, and `TransientError` when all connections stay in use."""
        if not self._free.acquire(timeout=WAIT_S):
            raise TransientError(f"all connections to {self.server.where} were in use for {WAIT_S:g} s; try again")
        connection: Connection | None = None
        try:
            connection = self._take()
            with self.server.transaction(connection, read_only=read_only, timeout_ms=timeout_ms):
                yield connection
        finally:
            if connection is not None:
                self._put(connection)
            self._free.release()

    def close(self) -> None:
        """Close the idle connections; the pool opens new ones when it is used again."""
        with self._lock:
            _close(self._idle)

    def _take(self) -> Connection:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        connection = self.server.open()
        if self._prepare is not None:
            with _closed_on_error(connection), self.server.transaction(connection, read_only=False, timeout_ms=None):
                self._prepare(connection)
        return connection

    def _put(self, connection: Connection) -> None:
        """Back among the idle ones, unless it is lost; then they are as well."""
        try:
            connection.rollback()
        except psycopg.Error:  # lost: what it was used for has said so
            connection.close()
        with self._lock:
            if connection.closed:
                _close(self._idle)
            else:
                self._idle.append(connection)


@contextmanager
def _closed_on_error(connection: Connection) -> Generator[None]:
    """Close the connection when the block raises."""
    try:
        yield
    except BaseException:
        connection.close()
        raise


def _close(connections: list[Connection]) -> None:
    while connections:
        connections.pop().close()
