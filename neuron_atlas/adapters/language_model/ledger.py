"""The ledger of paid calls: what was requested, what came back, what it cost.

One SQLite file in WAL mode, shared by processes. A call is written down *before* it is sent, at the most it can cost, and again
with what it really took when the answer is in; the answer is kept under the hash of everything that shaped it. So

- a crash loses at most the answers that were under way, and their cost stays counted at its upper bound;
- a request that was answered is never paid for again;
- a budget holds for all processes together: a call that could exceed it is not begun.

Refused and truncated answers were paid for too and are kept as such; answers that never came are not.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from neuron_atlas.adapters.sqlite_files import open_sqlite, write_transaction
from neuron_atlas.core.llm_requests import NoReply, Reply
from neuron_atlas.errors import BadInput

Outcome = Literal["answered", "refused", "truncated", "failed"]
_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, model TEXT NOT NULL, outcome TEXT NOT NULL, text TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, cost_usd REAL, answered_at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS calls (
    call INTEGER PRIMARY KEY, key TEXT NOT NULL, model TEXT NOT NULL, began_at REAL NOT NULL, ended_at REAL,
    outcome TEXT NOT NULL, prompt_tokens INTEGER, completion_tokens INTEGER, cost_usd REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS batches (
    batch TEXT PRIMARY KEY, model TEXT NOT NULL, sent_at REAL NOT NULL, harvested_at REAL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batch_requests (
    batch TEXT NOT NULL REFERENCES batches, key TEXT NOT NULL, call INTEGER NOT NULL REFERENCES calls, PRIMARY KEY (batch, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spent (one INTEGER PRIMARY KEY CHECK (one = 1), usd REAL NOT NULL);
INSERT OR IGNORE INTO spent VALUES (1, 0);
"""
_ANSWER = "key, outcome, text, prompt_tokens, completion_tokens, cost_usd"
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back of one paid call."""

    outcome: Outcome
    text: str
    prompt_tokens: int
    completion_tokens: int

    def value(self, cost_usd: float | None, *, is_remembered: bool = False) -> Reply | NoReply:
        """As the caller sees it; for an outcome other than answered, the text is the reason."""
        if self.outcome == "answered":
            return Reply(self.text, self.prompt_tokens, self.completion_tokens, cost_usd, is_remembered)
        return NoReply(self.outcome, self.text)


@dataclass(frozen=True, slots=True)
class Spending:
    """What a series of requests took: calls that were paid, requests answered from the ledger (`from_ledger`), tries that had to be
    repeated, tokens and USD of the calls (0 where no price is known)."""

    calls: int = 0
    from_ledger: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0


class Ledger:
    """A ledger in the file `path`, made when missing. May be used from several threads and processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        try:
            self._db = open_sqlite(path, any_thread=True)
            self._db.execute("PRAGMA synchronous = FULL")
            with self._writing():
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)
        except sqlite3.DatabaseError as error:
            raise BadInput(f"{path} cannot be used as a ledger: {error}. Move it away to start a new one.") from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def spent(self) -> float:
        """USD spent by all calls so far, those under way at the most they can cost."""
        with self._lock:
            return float(self._db.execute("SELECT usd FROM spent").fetchone()[0])

    def answers_to(self, keys: Iterable[str], *, only_replies: bool = False) -> dict[str, Reply | NoReply]:
        """What came back for these requests before; with `only_replies`, nothing that was refused, cut off or failed."""
        wanted = list(dict.fromkeys(keys))
        found: dict[str, Reply | NoReply] = {}
        with self._lock:
            for start in range(0, len(wanted), _CHUNK):
                part = wanted[start : start + _CHUNK]
                query = f"SELECT {_ANSWER} FROM answers WHERE key IN ({_marks(part)})"
                for key, outcome, text, prompt, completion, cost in self._db.execute(query, part):
                    if outcome == "answered" or not only_replies:
                        answer = Answer(outcome, text, prompt, completion)
                        found[key] = answer.value(cost, is_remembered=True)
        return found

    def begin(self, key: str, model: str, *, worst_usd: float, limit_usd: float | None) -> int | None:
        """Write down a call about to be sent; None when it could take the total above `limit_usd`."""
        return self.begin_many([(key, worst_usd)], model, limit_usd=limit_usd)[0]

    def begin_many(
        self, requests: Sequence[tuple[str, float]], model: str, *, limit_usd: float | None
    ) -> list[int | None]:
        """The same for several (key, most USD) in order, all or nothing of each; one transaction."""
        calls: list[int | None] = []
        with self._writing():
            total = float(self._db.execute("SELECT usd FROM spent").fetchone()[0])
            for key, worst in requests:
                if limit_usd is not None and total + worst > limit_usd:
                    calls.append(None)
                    continue
                total += worst
                insert = "INSERT INTO calls (key, model, began_at, outcome, cost_usd) VALUES (?, ?, ?, 'open', ?)"
                calls.append(self._db.execute(insert, (key, model, time.time(), worst)).lastrowid)
            self._db.execute("UPDATE spent SET usd = ?", (total,))
        return calls

    def end(self, call: int, answer: Answer, cost_usd: float | None) -> None:
        """Write down what came back of a call, and its cost (None: unknown, counted as nothing)."""
        self.end_many([(call, answer, cost_usd)])

    def end_many(self, ended: Iterable[tuple[int, Answer, float | None]]) -> None:
        """The same for several calls in one transaction."""
        with self._writing():
            for call, answer, cost in ended:
                key, model = self._close(call, answer.outcome, answer.prompt_tokens, answer.completion_tokens, cost)
                row = (key, model, answer.outcome, answer.text, answer.prompt_tokens, answer.completion_tokens, cost)
                insert = "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
                self._db.execute(insert, (*row, time.time()))

    def abandon(self, calls: Iterable[int], *, may_cost: bool) -> None:
        """Calls without an answer: free, unless the server may have worked on them."""
        with self._writing():
            for call in calls:
                if may_cost:
                    self._db.execute(
                        "UPDATE calls SET outcome = 'lost', ended_at = ? WHERE call = ?", (time.time(), call)
                    )
                else:
                    self._close(call, "not answered", 0, 0, 0.0)

    def add_batch(self, batch: str, model: str, calls: Mapping[str, int]) -> None:
        """Remember a batch that was sent, with the call of every key in it."""
        with self._writing():
            self._db.execute("INSERT OR IGNORE INTO batches VALUES (?, ?, ?, NULL)", (batch, model, time.time()))
            rows = [(batch, key, call) for key, call in calls.items()]
            self._db.executemany("INSERT OR IGNORE INTO batch_requests VALUES (?, ?, ?)", rows)

    def open_batches(self, model: str) -> dict[str, dict[str, int]]:
        """Batches whose answers were not collected yet, oldest first, each with the call of every key in it."""
        found: dict[str, dict[str, int]] = {}
        query = (
            "SELECT batch, key, call FROM batches JOIN batch_requests USING (batch) "
            "WHERE model = ? AND harvested_at IS NULL ORDER BY sent_at, batch"
        )
        with self._lock:
            for batch, key, call in self._db.execute(query, (model,)):
                found.setdefault(batch, {})[key] = call
        return found

    def has_batch(self, batch: str) -> bool:
        """Whether the batch was ever noted here."""
        with self._lock:
            return self._db.execute("SELECT 1 FROM batches WHERE batch = ?", (batch,)).fetchone() is not None

    def close_batch(self, batch: str) -> None:
        """Note that a batch's answers were collected."""
        with self._writing():
            self._db.execute("UPDATE batches SET harvested_at = ? WHERE batch = ?", (time.time(), batch))

    def usual_completion(self, model: str) -> float | None:
        """Mean tokens of this model's answers so far; None before the first."""
        query = "SELECT avg(completion_tokens) FROM answers WHERE model = ? AND outcome = 'answered'"
        with self._lock:
            (mean,) = self._db.execute(query, (model,)).fetchone()
        return cast("float | None", mean)

    def _close(self, call: int, outcome: str, prompt: int, completion: int, cost: float | None) -> tuple[str, str]:
        key, model, reserved = self._db.execute(
            "SELECT key, model, cost_usd FROM calls WHERE call = ?", (call,)
        ).fetchone()
        paid = cost or 0.0
        self._db.execute(
            "UPDATE calls SET ended_at = ?, outcome = ?, prompt_tokens = ?, completion_tokens = ?, cost_usd = ? WHERE call = ?",
            (time.time(), outcome, prompt, completion, paid, call),
        )
        self._db.execute("UPDATE spent SET usd = max(0, usd + ?)", (paid - reserved,))
        return key, model

    @contextmanager
    def _writing(self) -> Generator[None]:
        """One transaction; raises `TransientError` when another process keeps the file busy."""
        with self._lock, write_transaction(self._db, self.path):
            yield


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))
