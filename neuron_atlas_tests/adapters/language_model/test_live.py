"""Everything is answered or given up for a stated reason, whatever the server does; nothing is paid twice; a budget is a wall."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from dataclasses import replace
from typing import Any

import pytest

from neuron_atlas.adapters.language_model import (
    Ledger,
    OpenAIModel,
    Prices,
    RetryPolicy,
    Server,
    keep_out_of_logs,
)
from neuron_atlas.core.llm_requests import NoReply, Reply
from neuron_atlas.errors import BadInput, PermanentError
from neuron_atlas_tests.adapters.language_model.conftest import (
    FAULTS,
    KEY,
    QUICK,
    FaultyServer,
    asks,
    say_the_number,
)


def calls(ledger: Ledger, outcome: str) -> int:
    """Calls of one outcome in the ledger's file."""
    with sqlite3.connect(ledger.path) as db:
        return db.execute("SELECT count(*) FROM calls WHERE outcome = ?", (outcome,)).fetchone()[0]


def test_answers_come_in_order_and_at_most_so_many_at_once(faulty: FaultyServer, at: Server, ledger: Ledger) -> None:
    """The server answers five at a time: with fewer under way it would wait for ever, and a sixth would show in its books."""
    five = threading.Barrier(5, timeout=60)

    def answer(body: dict[str, Any]) -> str:
        five.wait()
        return say_the_number(body)

    faulty.answer = answer
    model = OpenAIModel(at, ledger, concurrency=5, retry_policy=QUICK)
    replies = list(model.ask(asks(60)))
    assert [json.loads(r.text)["n"] for r in replies if isinstance(r, Reply)] == list(range(60))
    assert faulty.books.most == 5
    assert model.spending.calls == 60


def test_in_bad_weather_all_are_answered_or_given_up_for_a_reason(
    faulty: FaultyServer, at: Server, ledger: Ledger
) -> None:
    faulty.faults, faulty.seed = FAULTS, 17
    model = OpenAIModel(at, ledger, concurrency=16, retry_policy=replace(QUICK, timeout_s=5.0))
    outcomes = list(model.ask(asks(300)))
    assert len(outcomes) == 300
    unanswered = [o for o in outcomes if isinstance(o, NoReply)]
    books = faulty.books
    assert {o.why for o in unanswered} == {"refused", "truncated"}
    assert len(unanswered) == books.faults["refusal"] + books.faults["truncation"]
    assert min(books.faults[kind] for kind in ("429", "500", "hang", "half")) > 0
    late = sum(books.paid.values()) - len(books.paid)  # answered after the client had given up: none on an idle machine
    assert model.spending.retries == sum(books.faults[kind] for kind in ("429", "500", "hang", "half")) + late
    assert calls(ledger, "lost") == books.faults["hang"] + late


def test_what_was_answered_is_never_paid_for_again(faulty: FaultyServer, at: Server, ledger: Ledger) -> None:
    faulty.faults = {"refusal": 0.3}
    first = list(OpenAIModel(at, ledger, retry_policy=QUICK).ask(asks(20)))
    again = OpenAIModel(at, ledger, retry_policy=QUICK)
    second = list(again.ask(asks(20)))
    assert [replace(r, is_remembered=False) if isinstance(r, Reply) else r for r in second] == first
    assert again.spending.calls == 0
    assert again.spending.from_ledger == 20
    assert sum(faulty.books.seen.values()) == 20


def test_unanswered_requests_are_sent_again_on_demand_and_answered_ones_are_not(
    faulty: FaultyServer, at: Server, ledger: Ledger
) -> None:
    faulty.faults = {"refusal": 0.3}
    first = list(OpenAIModel(at, ledger, retry_policy=QUICK).ask(asks(20)))
    faulty.faults = {}
    retried = OpenAIModel(at, ledger, retry_policy=QUICK, retry_unanswered=True)
    assert all(isinstance(o, Reply) for o in retried.ask(asks(20)))
    assert retried.spending.calls == sum(isinstance(o, NoReply) for o in first) > 0


def test_the_same_request_twice_in_one_go_is_asked_once(faulty: FaultyServer, at: Server, ledger: Ledger) -> None:
    one = asks(1)
    assert len(list(OpenAIModel(at, ledger, retry_policy=QUICK).ask([*one, *one, *one]))) == 3
    assert sum(faulty.books.seen.values()) == 1


def test_a_budget_is_never_exceeded_and_the_rest_says_so(faulty: FaultyServer, at: Server, ledger: Ledger) -> None:
    """100 tokens in at 10 USD and 20 out at 50 USD per million: 0.002 USD a call; a budget of 0.1 buys about 50."""
    prices, requests = Prices(10.0, 50.0), [replace(ask, max_tokens=60) for ask in asks(200)]
    model = OpenAIModel(at, ledger, concurrency=16, retry_policy=QUICK, prices=prices, limit_usd=0.1)
    outcomes = list(model.ask(requests))
    bought = sum(isinstance(o, Reply) for o in outcomes)
    worst = prices.worst(requests[0])
    assert ledger.spent() == pytest.approx(0.002 * bought)
    assert 0.1 - worst < ledger.spent() <= 0.1
    assert all(isinstance(o, Reply) for o in outcomes[: bought - model.concurrency])  # first come, first served
    assert {o for o in outcomes if isinstance(o, NoReply)} == {NoReply("budget", "spending reached its limit of $0.10")}
    more = OpenAIModel(at, ledger, retry_policy=QUICK, prices=prices, limit_usd=10.0)
    assert all(isinstance(o, Reply) for o in more.ask(requests))
    assert more.spending.calls == 200 - bought


def test_calls_cut_off_by_a_crash_count_at_the_most_they_can_have_cost(ledger: Ledger, at: Server) -> None:
    assert ledger.begin("k", "m", worst_usd=0.25, limit_usd=0.3) is not None
    ledger.close()
    reopened = Ledger(ledger.path)
    assert reopened.spent() == 0.25
    assert reopened.begin("other", "m", worst_usd=0.06, limit_usd=0.3) is None


def test_a_429_makes_everybody_wait_as_long_as_the_server_asks(
    faulty: FaultyServer, at: Server, ledger: Ledger
) -> None:
    """All requests are turned away at first; with a cooldown for all, few are sent before it ends."""
    faulty.faults = {"429": 0.9}
    faulty.limit_headers = {"retry-after-ms": "40"}
    patient = replace(QUICK, tries=200)
    model = OpenAIModel(at, ledger, concurrency=4, retry_policy=patient)
    assert all(isinstance(o, Reply) for o in model.ask(asks(4)))
    assert model.spending.retries == faulty.books.faults["429"] > 4


def test_a_server_without_structured_outputs_is_told_the_schema_in_words(
    faulty: FaultyServer, at: Server, ledger: Ledger
) -> None:
    def complaint(body: dict[str, object]) -> str | None:
        return next((f"unknown field {name}" for name in ("response_format", "seed") if name in body), None)

    faulty.complaint = complaint
    model = OpenAIModel(at, ledger, concurrency=1, retry_policy=QUICK)
    assert all(isinstance(o, Reply) for o in model.ask(asks(3)))
    last = faulty.books.bodies[-1]
    assert "response_format" not in last
    assert '"required": ["n"]' in last["messages"][1]["content"]
    assert [m["role"] for m in last["messages"]] == ["system", "system", "user"]


def test_a_request_that_is_wrong_in_itself_is_given_up_at_once(
    faulty: FaultyServer, at: Server, ledger: Ledger
) -> None:
    faulty.complaint = lambda body: "this model's context is 10 tokens" if "number 3" in str(body) else None
    outcomes = list(OpenAIModel(at, ledger, retry_policy=QUICK).ask(asks(5)))
    assert isinstance(outcomes[3], NoReply)
    assert (outcomes[3].why, "context is 10 tokens" in outcomes[3].reason) == ("failed", True)
    assert sum(isinstance(o, Reply) for o in outcomes) == 4


@pytest.mark.parametrize(
    ("status", "said", "error", "words"),
    [
        (401, "bad key", BadInput, "OPENAI_API_KEY"),
        (404, "no such model", BadInput, "LABELER_MODEL"),
        (302, "moved", BadInput, "redirects are not followed"),
        (429, "insufficient_quota", PermanentError, "quota"),
    ],
)
def test_what_no_request_survives_ends_everything_with_a_next_step(
    faulty: FaultyServer,
    at: Server,
    ledger: Ledger,
    status: int,
    said: str,
    error: type[Exception],
    words: str,
) -> None:
    faulty.status = (status, said)
    with pytest.raises(error, match=words):
        list(OpenAIModel(at, ledger, retry_policy=QUICK).ask(asks(50)))
    assert ledger.spent() == 0.0


def test_a_server_that_is_away_is_given_up_after_the_last_try(ledger: Ledger) -> None:
    nowhere = Server("tiny", "none", "http://127.0.0.1:9/v1")
    model = OpenAIModel(nowhere, ledger, retry_policy=RetryPolicy(tries=2, first_pause_s=0.001))
    (outcome,) = model.ask(asks(1))
    assert isinstance(outcome, NoReply)
    assert outcome.reason.startswith("no answer after 2 tries")
    assert ledger.answers_to([asks(1)[0].key(nowhere.address)]) == {}


def test_leaving_early_keeps_what_was_under_way(faulty: FaultyServer, at: Server, ledger: Ledger) -> None:
    model = OpenAIModel(at, ledger, concurrency=4, retry_policy=QUICK)
    answers = model.ask(asks(300))
    next(iter(answers))
    answers.close()
    kept = len(ledger.answers_to(ask.key(at.address) for ask in asks(300)))
    assert kept == sum(faulty.books.paid.values()) < 300


def test_the_key_appears_in_no_log_line_and_no_error(
    faulty: FaultyServer,
    at: Server,
    ledger: Ledger,
    caplog: pytest.LogCaptureFixture,
) -> None:
    keep_out_of_logs(KEY)
    faulty.status = (403, f"the key {KEY} may not")
    with caplog.at_level(logging.DEBUG), pytest.raises(BadInput) as caught:
        list(OpenAIModel(at, ledger, retry_policy=QUICK).ask(asks(1)))
    logging.getLogger("any").error("calling with %s", KEY)
    logging.getLogger("any").error("calling with %s", {"Authorization": f"Bearer {KEY}"})
    try:
        raise ValueError(KEY)
    except ValueError:
        logging.getLogger("any").exception("with a traceback")
    assert KEY not in caplog.text
    assert "calling with [hidden]" in caplog.text
    assert KEY not in str(caught.value)
    assert KEY not in repr(at)
    assert faulty.books.headers[0]["authorization"] == f"Bearer {KEY}"
