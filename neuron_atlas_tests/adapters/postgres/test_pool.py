"""Connections that threads share: few, returned clean, and replaced when the server went away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from neuron_atlas.adapters.postgres import Connection, Pool, Server, start_embedded, stop_embedded
from neuron_atlas.adapters.postgres import pool as pool_module
from neuron_atlas.errors import BadInput, PermanentError, TransientError, Unreachable


@pytest.fixture
def pool(server: Server) -> Iterator[Pool]:
    made = Pool(server, size=3)
    yield made
    made.close()


def number(connection: Connection) -> int:
    """Which connection this is."""
    return connection.info.backend_pid


def test_the_same_connection_serves_one_caller_after_the_other(pool: Pool) -> None:
    assert len({pool.run(number) for _ in range(5)}) == 1


def test_threads_share_no_more_connections_than_the_pool_has(pool: Pool) -> None:
    def work(connection: Connection) -> int:
        connection.execute("select pg_sleep(0.01)")
        return number(connection)

    with ThreadPoolExecutor(12) as threads:
        used = list(threads.map(lambda _: pool.run(work), range(60)))
    assert 1 <= len(set(used)) <= 3


def test_a_connection_comes_back_as_it_was(pool: Pool) -> None:
    """Neither a timeout, nor being read-only, nor an unfinished transaction is left to whoever comes next."""
    with pytest.raises(PermanentError, match="was stopped"):
        pool.run(lambda c: c.execute("select pg_sleep(5)"), read_only=True, timeout_ms=20)
    assert pool.run(lambda c: c.execute("show statement_timeout").fetchone()) == ("0",)
    assert pool.run(lambda c: c.execute("show transaction_read_only").fetchone()) == ("off",)
    with pytest.raises(ZeroDivisionError):
        pool.run(lambda c: [c.execute("create table left_behind (x int)"), 1 // 0])
    assert pool.run(lambda c: c.execute("select to_regclass('left_behind')").fetchone()) == (None,)


def test_a_caller_who_waits_too_long_is_told(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "WAIT_S", 0.01)
    with (
        pool.connect(),
        pool.connect(),
        pool.connect(),
        pytest.raises(TransientError, match=r"all connections to .* were in use"),
    ):
        pool.run(number, attempts=1)


def test_what_new_connections_need_is_done_once_each(server: Server) -> None:
    prepared: list[int] = []
    made = Pool(server, prepare=lambda c: prepared.append(number(c)))
    for _ in range(3):
        made.run(number)
    made.close()
    assert len(prepared) == 1

    def refuse(connection: Connection) -> None:
        raise BadInput("no")

    with pytest.raises(BadInput):
        Pool(server, prepare=refuse).run(number)


def test_a_server_that_is_not_there_is_named_at_once(pool: Pool) -> None:
    away = Pool(Server("127.0.0.1", 9))
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
        away.run(number, sleep=lambda _: pytest.fail("waited"))


def test_a_restart_costs_a_retry_at_most(outside: Path) -> None:
    """Every idle connection is dead after a restart; the first of them tells about all."""
    folder = outside / "restarted"
    made = Pool(start_embedded(folder))
    try:
        with made.connect(), made.connect(), made.connect():
            pass
        stop_embedded(folder)
        start_embedded(folder)
        pauses: list[float] = []
        assert made.run(lambda c: c.execute("select 1").fetchone(), sleep=pauses.append) == (1,)
        assert len(pauses) == 1
    finally:
        made.close()
        stop_embedded(folder)


def test_a_restart_in_the_middle_of_a_query_fails_cleanly_or_not_at_all(outside: Path) -> None:
    folder = outside / "mid-query"
    made = Pool(start_embedded(folder))
    begun = threading.Event()

    def work(connection: Connection) -> str:
        begun.set()
        connection.execute("select pg_sleep(0.3)")
        return "answered"

    try:
        for attempts in (1, 8):
            begun.clear()
            with ThreadPoolExecutor(1) as thread:
                call = thread.submit(made.run, work, attempts=attempts)
                assert begun.wait(10)
                stop_embedded(folder)
                start_embedded(folder)
                if attempts == 1:
                    assert isinstance(call.exception(), TransientError | None)
                else:
                    assert call.result() == "answered"
            assert made.run(lambda c: c.execute("select 1").fetchone()) == (1,)
    finally:
        made.close()
        stop_embedded(folder)
