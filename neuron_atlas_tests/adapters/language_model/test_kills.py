"""kill -9 at any instant: what was answered is never asked again, so repeated paid calls are at most those under way.

NEURON_ATLAS_KILLS sets how many kills (default 2 over 150 requests; 50 go over 2,000).
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from neuron_atlas_tests.adapters.language_model.conftest import FaultyServer, say_the_number

KILLS = int(os.environ.get("NEURON_ATLAS_KILLS", "2"))
REQUESTS = 2000 if KILLS >= 50 else 150
CONCURRENCY = 8
CLIENT = """
import sys
from pathlib import Path
from neuron_atlas.adapters.language_model import Ledger, OpenAIModel, Server
from neuron_atlas.core.conversation import Reply
from neuron_atlas_tests.adapters.language_model.conftest import QUICK, asks
url, path, n, concurrency = sys.argv[1:]
server = Server("tiny", "none", url)
model = OpenAIModel(server, Ledger(Path(path)), concurrency=int(concurrency), patience=QUICK)
assert all(isinstance(o, Reply) for o in model.ask(asks(int(n))))
"""


def test_repeated_paid_calls_never_exceed_those_under_way_at_the_kills(faulty: FaultyServer, tmp_path: Path) -> None:
    ledger, rng = tmp_path / "ledger.sqlite", random.Random(0)
    command = [sys.executable, "-c", CLIENT, faulty.url, str(ledger), str(REQUESTS), str(CONCURRENCY)]
    marks = sorted(rng.sample(range(1, REQUESTS - KILLS * CONCURRENCY), KILLS))
    under_way = 0
    for mark in marks:
        reached = threading.Event()
        faulty.answer = _counting(faulty, mark, reached)
        client = subprocess.Popen(command)
        assert reached.wait(120)
        client.send_signal(signal.SIGKILL)
        client.wait()
        under_way += _open_calls(ledger)
        _close_open(ledger)
    subprocess.run(command, check=True, timeout=600)
    paid = faulty.books.paid
    repeated = sum(paid.values()) - len(paid)
    print(f"{KILLS} kills, {REQUESTS} requests: {repeated} paid again, {under_way} under way at the kills")
    assert len(paid) == REQUESTS
    assert repeated <= under_way <= KILLS * CONCURRENCY


def _counting(server: FaultyServer, mark: int, reached: threading.Event) -> Callable[[dict], str]:
    """Answer as ever, and tell when so many different requests have been paid for."""

    def answer(body: dict) -> str:
        if len(server.books.paid) >= mark:
            reached.set()
        return say_the_number(body)

    return answer


def _open_calls(ledger: Path) -> int:
    with sqlite3.connect(ledger) as db:
        return db.execute("SELECT count(*) FROM calls WHERE outcome = 'open'").fetchone()[0]


def _close_open(ledger: Path) -> None:
    """So that the next kill counts its own."""
    with sqlite3.connect(ledger) as db:
        db.execute("UPDATE calls SET outcome = 'lost' WHERE outcome = 'open'")
