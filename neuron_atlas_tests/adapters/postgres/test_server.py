"""Talking to a server: one transaction per piece of work, repeated when the world was busy, errors in our own words."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from neuron_atlas.adapters.postgres import (
    Connection,
    Server,
    configured_server,
    ensure_database,
    ensure_vector,
    start_embedded,
    stop_embedded,
)
from neuron_atlas.adapters.postgres.server import check_vector_version
from neuron_atlas.errors import BadInput, PermanentError, TransientError, Unreachable


def count(server: Server, table: str = "numbers") -> int:
    with server.connect() as connection:
        row = connection.execute(f"select count(*) from {table}").fetchone()
    assert row is not None
    return int(row[0])


def free_port() -> int:
    """A port without a listener."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def numbers(database: Server) -> Server:
    with database.connect() as connection:
        connection.execute("create table numbers (n int)")
    return database


def test_a_block_that_raises_leaves_nothing_behind(numbers: Server) -> None:
    with pytest.raises(PermanentError), numbers.connect() as connection:
        raise_with(connection.execute("insert into numbers values (1)").connection, "P0001")
    assert count(numbers) == 0
    with numbers.connect() as connection:
        connection.execute("insert into numbers values (1)")
    assert count(numbers) == 1


def test_lost_connections_are_made_again_with_growing_jittered_waits(numbers: Server) -> None:
    attempts: list[int] = []
    waits: list[float] = []

    def work(connection: Connection) -> str:
        connection.execute("insert into numbers values (1)")
        attempts.append(1)
        if len(attempts) < 3:
            connection.execute("select pg_terminate_backend(pg_backend_pid())")
        return "done"

    assert numbers.run(work, sleep=waits.append, jitter=lambda: 0.5) == "done"
    assert waits == [0.2, 0.4]
    assert count(numbers) == 1  # the two lost attempts left nothing


def test_a_restart_in_the_middle_of_a_query_is_survived(numbers: Server) -> None:
    folder = Path(numbers.host).parent
    attempts: list[int] = []

    def work(connection: Connection) -> int:
        connection.execute("insert into numbers values (1)")
        attempts.append(1)
        if len(attempts) == 1:
            stop_embedded(folder)
            start_embedded(folder)
        row = connection.execute("select count(*) from numbers").fetchone()
        assert row is not None
        return int(row[0])

    assert numbers.run(work, sleep=lambda _: None) == 1
    assert len(attempts) == 2


def test_a_server_that_never_answered_is_not_waited_for() -> None:
    absent = Server("127.0.0.1", free_port())
    with pytest.raises(Unreachable):
        absent.run(lambda _: None, sleep=lambda _: pytest.fail("waited"))


def test_after_the_last_attempt_the_loss_is_reported(numbers: Server) -> None:
    def work(connection: Connection) -> None:
        connection.execute("select pg_terminate_backend(pg_backend_pid())")

    waits: list[float] = []
    with pytest.raises(TransientError, match="lost the connection"):
        numbers.run(work, attempts=3, sleep=waits.append)
    assert len(waits) == 2
    assert all(0.2 * 2**i * 0.5 <= wait <= 0.2 * 2**i * 1.5 for i, wait in enumerate(waits))


@pytest.mark.parametrize("code", ["40001", "40P01", "57P03", "53300"])
def test_a_busy_server_is_transient(numbers: Server, code: str) -> None:
    with pytest.raises(TransientError), numbers.connect() as connection:
        raise_with(connection, code)


def test_a_full_disk_is_permanent_and_says_that_nothing_was_kept(numbers: Server) -> None:
    with pytest.raises(PermanentError, match=r"ran out of space.*nothing of this write was kept"):
        numbers.run(lambda c: raise_with(c, "53100"), sleep=lambda _: pytest.fail("a full disk is not retried"))


def test_mistakes_in_a_statement_are_permanent(numbers: Server) -> None:
    with pytest.raises(PermanentError, match="nowhere"):
        numbers.run(lambda c: c.execute("select * from nowhere"), sleep=lambda _: pytest.fail("not retried"))


def raise_with(connection: Connection, code: str) -> None:
    connection.execute(f"do $$ begin raise exception 'as if' using errcode = '{code}'; end $$")


def test_read_only_connections_cannot_write(numbers: Server) -> None:
    with pytest.raises(PermanentError, match="read-only"):
        numbers.run(lambda c: c.execute("insert into numbers values (1)"), read_only=True)
    assert count(numbers) == 0


def test_a_statement_past_its_time_is_stopped_once(numbers: Server) -> None:
    with pytest.raises(PermanentError, match=r"statement timeout.*narrow the question"):
        numbers.run(
            lambda c: c.execute("select pg_sleep(5)"), timeout_ms=50, sleep=lambda _: pytest.fail("not retried")
        )


def test_a_server_that_is_not_there_is_named_with_its_setting() -> None:
    port = free_port()
    absent = configured_server(host="127.0.0.1", port=port, user="u", password="secret", database="d")
    with pytest.raises(Unreachable, match=rf"127\.0\.0\.1:{port} .*PG_HOST") as caught, absent.connect():
        pass
    assert "secret" not in str(caught.value)


def test_refused_names_are_mistakes(server: Server) -> None:
    with pytest.raises(BadInput, match=r"no database 'absent'.*PG_DATABASE"), server.of("absent").connect():
        pass
    stranger = Server(server.host, server.port, "nobody_here", None, "postgres")
    with pytest.raises(BadInput, match=r"refused user 'nobody_here'.*PG_USER"), stranger.connect():
        pass


@pytest.mark.parametrize(("host", "port"), [(" ", 5432), ("db", 0), ("db", 70000)])
def test_impossible_addresses_are_refused(host: str, port: int) -> None:
    with pytest.raises(BadInput, match="PG_"):
        configured_server(host=host, port=port, user="u", password=None, database="d")


def test_the_password_is_in_addresses_for_software_and_nowhere_else() -> None:
    server = configured_server(host="db.example", port=5433, user="an@a", password="p:w/d", database="atlas")
    assert "p:w/d" not in repr(server) + server.where
    assert server.url("postgresql+psycopg2") == "postgresql+psycopg2://an%40a:p%3Aw%2Fd@db.example:5433/atlas"
    assert "password=p:w/d" in server.dsn


def test_the_url_of_a_socket_names_its_folder() -> None:
    assert Server("/run/pg", database="atlas").url() == "postgresql://postgres@/atlas?host=%2Frun%2Fpg&port=5432"


def test_a_database_is_made_once_however_many_ask(server: Server) -> None:
    failures: list[Exception] = []

    def ask() -> None:
        try:
            ensure_database(server, "asked_for")
        except Exception as error:  # noqa: BLE001 - a thread's failure must reach the test
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with ensure_database(server, "asked_for").connect() as connection:
        assert connection.execute("select current_database()").fetchone() == ("asked_for",)


def test_pgvector_is_there_and_new_enough(database: Server) -> None:
    with database.connect() as connection:
        version = ensure_vector(connection)
        assert ensure_vector(connection) == version
        assert connection.execute("select '[1,2]'::halfvec <=> '[2,4]'::halfvec").fetchone() == (0.0,)


@pytest.mark.parametrize("version", ["0.8.4", "0.8.5", "0.10.0", "1.0"])
def test_newer_pgvector_is_accepted(version: str) -> None:
    check_vector_version(version)


@pytest.mark.parametrize("version", ["0.8.3", "0.7.9", "0.5.1"])
def test_older_pgvector_is_refused_with_the_reason(version: str) -> None:
    with pytest.raises(BadInput, match=rf"pgvector is {version}; expected >= 0\.8\.4, since"):
        check_vector_version(version)
