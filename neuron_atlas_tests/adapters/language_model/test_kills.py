"""kill -9 at any instant: what was answered is never asked again, so repeated paid calls are at most those under way.

A process is killed when so many requests have been paid for, however long that takes.
NEURON_ATLAS_KILLS sets how many kills (default 2 over 80 requests; 50 go over 2,000).
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from neuron_atlas_tests.adapters.language_model.conftest import FAULTS, FaultyServer, say_the_number

KILLS = int(os.environ.get("NEURON_ATLAS_KILLS", "2"))
IS_LONG = KILLS >= 50
REQUESTS = 2000 if IS_LONG else 80
CONCURRENCY = 8
PATIENCE_S = 300.0
"""Longer than a process takes to start on the busiest machine."""
CLIENT = """
import sys
from dataclasses import replace
from pathlib import Path
from neuron_atlas.adapters.language_model import Ledger, OpenAIModel, Server
from neuron_atlas.core.llm_requests import Reply
from neuron_atlas_tests.adapters.language_model.conftest import QUICK, asks
url, path, n, concurrency = sys.argv[1:]
retry_policy = replace(QUICK, timeout_s=20.0, tries=20)
model = OpenAIModel(Server("tiny", "none", url), Ledger(Path(path)), concurrency=int(concurrency), retry_policy=retry_policy)
assert all(isinstance(o, Reply) or o.why in ("refused", "truncated") for o in model.ask(asks(int(n))))
"""


def test_repeated_paid_calls_never_exceed_those_under_way_at_the_kills(faulty: FaultyServer, tmp_path: Path) -> None:
    """In bad weather; hangs, which take their time, are for the long run."""
    faulty.faults = FAULTS if IS_LONG else {kind: share for kind, share in FAULTS.items() if kind != "hang"}
    ledger, rng = tmp_path / "ledger.sqlite", random.Random(0)
    command = [sys.executable, "-c", CLIENT, faulty.url, str(ledger), str(REQUESTS), str(CONCURRENCY)]
    marks = sorted(rng.sample(range(1, REQUESTS - KILLS * CONCURRENCY), KILLS))
    under_way = 0
    for mark in marks:
        reached = threading.Event()
        faulty.answer = _counting(faulty, mark, reached)
        client = subprocess.Popen(command)
        _go_on(faulty, client, reached.is_set)
        client.send_signal(signal.SIGKILL)
        assert client.wait() == -signal.SIGKILL, "the client ended by itself"
        under_way += _calls(ledger, "open")
        _close_open(ledger)
    client = subprocess.Popen(command)
    _go_on(faulty, client, lambda: False)
    assert client.returncode == 0
    paid = faulty.books.paid
    repeated = sum(paid.values()) - len(paid)
    unanswered = _calls(ledger, "refused") + _calls(ledger, "truncated")
    print(
        f"{KILLS} kills, {REQUESTS} requests: {repeated} paid again, {under_way} under way at the kills, {unanswered} unanswered"
    )
    assert len(paid) == REQUESTS == _calls(ledger, "answered") + unanswered
    assert repeated <= under_way <= KILLS * CONCURRENCY


def _go_on(server: FaultyServer, client: subprocess.Popen[bytes], is_enough: Callable[[], bool]) -> None:
    """Until it is enough, or the client has ended; fails when no request came through for `PATIENCE_S`."""
    seen, since = -1, time.monotonic()
    while client.poll() is None and not is_enough():
        if (now := sum(server.books.seen.values())) > seen:
            seen, since = now, time.monotonic()
        if time.monotonic() - since > PATIENCE_S:
            client.kill()
            pytest.fail(f"no request for {PATIENCE_S:.0f} s")
        with contextlib.suppress(subprocess.TimeoutExpired):
            client.wait(0.02)


def _counting(server: FaultyServer, mark: int, reached: threading.Event) -> Callable[[dict], str]:
    """Answer as ever, and tell when so many different requests have been paid for."""

    def answer(body: dict) -> str:
        if len(server.books.paid) >= mark:
            reached.set()
        return say_the_number(body)

    return answer


def _calls(ledger: Path, outcome: str) -> int:
    with sqlite3.connect(ledger) as db:
        return db.execute("SELECT count(*) FROM calls WHERE outcome = ?", (outcome,)).fetchone()[0]


def _close_open(ledger: Path) -> None:
    """So that the next kill counts its own."""
    with sqlite3.connect(ledger) as db:
        db.execute("UPDATE calls SET outcome = 'lost' WHERE outcome = 'open'")
