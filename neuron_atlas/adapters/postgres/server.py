"""A PostgreSQL server, embedded or configured by address: connections, transactions, retries, and errors that can be read.

`Server` is an address and nothing else: frozen, cheap, safe to pass around. A piece of work is one transaction on a connection
opened for it, so that it can be run again on a fresh connection after a temporary failure (`Server.run`). Errors of psycopg become
errors of this package that name the address, the setting that holds it, and what to do next.
"""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeAlias, TypeVar
from urllib.parse import quote, urlencode

import psycopg
from psycopg import errors as pg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow

from neuron_atlas.errors import AtlasError, BadInput, PermanentError, TransientError, Unreachable

Connection: TypeAlias = psycopg.Connection[TupleRow]
Result = TypeVar("Result")

CONNECT_TIMEOUT_S = 5
VECTOR_VERSION = (0, 8, 4)
"""Older pgvector has no iterative index scans (below 0.8.0), or bugs in building HNSW indexes and their scans that were
fixed up to 0.8.4; a filtered search could return too few rows without saying so."""
BUSY = (pg.SerializationFailure, pg.DeadlockDetected, pg.AdminShutdown, pg.CrashShutdown, pg.CannotConnectNow,
        pg.TooManyConnections, pg.LockNotAvailable, pg.IdleInTransactionSessionTimeout)  # fmt: skip


class Transactions(ABC):
    """What gives connections for one transaction each can also run work with retries: a server, or a pool of connections to it."""

    __slots__ = ()

    @abstractmethod
    def connect(self, *, read_only: bool = False, timeout_ms: int | None = None) -> AbstractContextManager[Connection]:
        """A connection for one transaction: committed when the block succeeds, rolled back when it raises."""

    def run(
        self,
        work: Callable[[Connection], Result],
        *,
        attempts: int = 4,
        read_only: bool = False,
        timeout_ms: int | None = None,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> Result:
        """Run `work` as one transaction; on a `TransientError` wait and run it again on a new connection.

        The wait doubles from 0.2 s and is multiplied by a jitter in 0.5..1.5, so that many workers do not return at once.
        `work` may run more than once: all it does must be inside its transaction. A server that does not answer at all is
        reported at once; one that answered and then went away is waited for.
        """
        for attempt in range(attempts):
            try:
                with self.connect(read_only=read_only, timeout_ms=timeout_ms) as connection:
                    return work(connection)
            except TransientError as error:
                if attempt == attempts - 1 or (attempt == 0 and isinstance(error, Unreachable)):
                    raise
                sleep(0.2 * 2**attempt * (0.5 + jitter()))
        raise AssertionError("attempts must be at least 1")


@dataclass(frozen=True, slots=True)
class Server(Transactions):
    """Where a PostgreSQL server answers. `host` is a name, an address, or the folder of a unix socket (starts with /)."""

    host: str
    port: int = 5432
    user: str = "postgres"
    password: str | None = field(default=None, repr=False)
    database: str = "postgres"
    is_embedded: bool = False

    def of(self, database: str) -> Server:
        """The same server, another database."""
        return replace(self, database=database)

    @property
    def where(self) -> str:
        """For people: host:port/database, never the password."""
        return f"{self.host}:{self.port}/{self.database}"

    @property
    def dsn(self) -> str:
        """The libpq connection string for psycopg. It holds the password: do not log it."""
        return make_conninfo(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=self.database,
            connect_timeout=CONNECT_TIMEOUT_S,
        )

    def url(self, scheme: str = "postgresql") -> str:
        """The address as a URL, for software that wants one (SQLAlchemy with psycopg2: `postgresql+psycopg2`). It holds the
        password: do not log it."""
        who = quote(self.user, safe="") + (":" + quote(self.password, safe="") if self.password else "")
        if self.host.startswith("/"):
            place = urlencode({"host": self.host, "port": self.port})
            return f"{scheme}://{who}@/{quote(self.database, safe='')}?{place}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{who}@{host}:{self.port}/{quote(self.database, safe='')}"

    @contextmanager
    def connect(
        self, *, autocommit: bool = False, read_only: bool = False, timeout_ms: int | None = None
    ) -> Generator[Connection]:
        """One connection, closed at the end: committed when the block succeeds, rolled back when it raises.

        `read_only` makes the server refuse any write; `timeout_ms` is the statement timeout. Raises `Unreachable` when
        nothing answers, `BadInput` when the server refuses user, password or database, `TransientError` when the
        connection is lost or the server is busy, `PermanentError` when its disk is full or the time is up.
        """
        connection = self.open(autocommit=autocommit)
        try:
            with self.transaction(connection, read_only=read_only, timeout_ms=timeout_ms):
                yield connection
        finally:
            connection.close()  # without a commit this rolls back

    @contextmanager
    def transaction(self, connection: Connection, *, read_only: bool, timeout_ms: int | None) -> Generator[Connection]:
        """One transaction on an open connection: committed when the block succeeds; psycopg's errors are translated."""
        try:
            connection.read_only = True if read_only else None
            if timeout_ms is not None:
                is_local = not connection.autocommit  # gone with the transaction, whoever has the connection next
                connection.execute("select set_config('statement_timeout', %s, %s)", [str(timeout_ms), is_local])
            yield connection
            connection.commit()
        except psycopg.Error as error:
            raise translated_error(error, self, lost=connection.closed) from error

    def open(self, *, autocommit: bool = False) -> Connection:
        """A connection that the caller closes; raises as `connect` does. Plans are made for the values at hand: filters differ
        too much in what they let through for a plan to be kept."""
        try:
            return psycopg.connect(self.dsn, autocommit=autocommit, prepare_threshold=None)
        except psycopg.OperationalError as error:
            raise _refused(error, self) from error


def configured_server(*, host: str, port: int, user: str, password: str | None, database: str) -> Server:
    """The server that PG_HOST, PG_PORT, PG_USER, PG_PASSWORD and PG_DATABASE name."""
    if not host.strip():
        raise BadInput("PG_HOST is empty; expected a host name, or leave it out to use the embedded server")
    if not 1 <= port <= 65535:
        raise BadInput(f"PG_PORT is {port}; expected 1 to 65535")
    return Server(host=host.strip(), port=port, user=user, password=password, database=database)


def ensure_database(server: Server, name: str) -> Server:
    """Create database `name` on the server unless it exists (two callers at once are fine); the server with that database.

    An existing database is enough: no right to create one is needed then. Otherwise it is created from the server's
    maintenance database `postgres`.
    """
    wanted = server.of(name)
    with server.of("postgres").connect(autocommit=True) as connection:
        if connection.execute("select 1 from pg_database where datname = %s", [name]).fetchone():
            return wanted
        try:
            connection.execute(
                sql.SQL("create database {} encoding 'UTF8' template template0").format(sql.Identifier(name))
            )
        except (pg.DuplicateDatabase, pg.UniqueViolation):
            pass  # another process was faster
        except pg.InsufficientPrivilege as error:
            raise BadInput(
                f"database {name!r} does not exist on {server.host}:{server.port} and user {server.user!r} may not create "
                f"it; create it there (createdb {name}) or set PG_DATABASE to one that exists"
            ) from error
    return wanted


def ensure_vector(connection: Connection) -> str:
    """Make the extension pgvector available in the connection's database; returns its version.

    Raises `BadInput` when the server does not have it, it may not be created, or it is older than 0.8.4.
    """
    needed = ".".join(map(str, VECTOR_VERSION))
    row = connection.execute("select extversion from pg_extension where extname = 'vector'").fetchone()
    if row is None:
        try:
            with connection.transaction():
                connection.execute("create extension if not exists vector")
        except (pg.FeatureNotSupported, pg.UndefinedFile) as error:
            raise BadInput(
                f"this PostgreSQL server has no pgvector; install pgvector >= {needed} on it (or use the image "
                "pgvector/pgvector:pg18), or unset PG_HOST to use the embedded server"
            ) from error
        except pg.InsufficientPrivilege as error:
            raise BadInput(
                "the extension pgvector is not enabled in this database and this user may not enable it; let an owner run: "
                "create extension vector"
            ) from error
        except pg.UniqueViolation:
            pass  # another process was faster
        row = connection.execute("select extversion from pg_extension where extname = 'vector'").fetchone()
    assert row is not None
    version = str(row[0])
    check_vector_version(version)
    return version


def check_vector_version(version: str) -> None:
    """Raises `BadInput` for a pgvector older than 0.8.4."""
    numbers = tuple(int(part) for part in version.split(".") if part.isdigit())
    if numbers < VECTOR_VERSION:
        needed = ".".join(map(str, VECTOR_VERSION))
        raise BadInput(
            f"pgvector is {version}; expected >= {needed}, since filtered searches of older versions can return too few "
            "rows. Upgrade the server's package, then run: alter extension vector update"
        )


def translated_error(error: psycopg.Error, server: Server, *, lost: bool) -> AtlasError:
    """The error of this package for one of psycopg: transient when the same call may succeed later, permanent otherwise."""
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, pg.DiskFull | pg.OutOfMemory):
        return PermanentError(
            f"the server {server.where} ran out of space: {first_line}; nothing of this write was kept"
        )
    if isinstance(error, pg.QueryCanceled):
        return PermanentError(
            f"a statement on {server.where} was stopped: {first_line}; narrow the question or allow more time"
        )
    if isinstance(error, pg.ReadOnlySqlTransaction):
        return PermanentError(f"a write was refused on the read-only connection to {server.where}: {first_line}")
    if lost or isinstance(error, BUSY):
        return TransientError(f"lost the connection to {server.where}, or it is busy: {first_line}; try again")
    return PermanentError(f"{server.where} refused a statement: {first_line}")


def _refused(error: psycopg.OperationalError, server: Server) -> AtlasError:
    """Why no connection could be opened."""
    text = str(error)
    first_line = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    if (
        "authentication failed" in text
        or "no password supplied" in text
        or ("role" in text and "does not exist" in text)
    ):
        return BadInput(
            f"the server {server.host}:{server.port} refused user {server.user!r}: {first_line}; check PG_USER and PG_PASSWORD"
        )
    if "database" in text and "does not exist" in text:
        return BadInput(
            f"there is no database {server.database!r} on {server.host}:{server.port}; check PG_DATABASE, or create it"
        )
    if any(words in text for words in ("is starting up", "is shutting down", "in recovery mode", "too many clients")):
        return TransientError(f"the server {server.where} is busy: {first_line}; try again")
    if server.is_embedded:
        return Unreachable(f"the embedded server at {server.host} does not answer: {first_line}; start it again")
    return Unreachable(
        f"no PostgreSQL server answers at {server.host}:{server.port} (waited {CONNECT_TIMEOUT_S} s): {first_line}; check "
        "PG_HOST and PG_PORT, or unset PG_HOST to use the embedded server"
    )
