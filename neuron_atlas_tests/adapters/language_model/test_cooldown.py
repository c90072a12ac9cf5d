"""As long as the server asks, and all together. The clock stands still unless somebody waits."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from neuron_atlas.adapters.language_model import RetryPolicy, cooldown
from neuron_atlas.adapters.language_model.cooldown import Cooldown, read_duration

PATIENCE = RetryPolicy(first_pause_s=1.0, longest_pause_s=8.0, longest_wait_s=300.0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which only waiting moves."""
    now = [1000.0]

    async def wait(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(cooldown, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(cooldown, "asyncio", SimpleNamespace(sleep=wait))
    return now


def waited(clock: list[float], shared: Cooldown) -> float:
    """Seconds until the next request may be sent."""
    before = clock[0]
    asyncio.run(shared.wait())
    return clock[0] - before


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("20", 20.0), ("20ms", 0.02), ("1.5s", 1.5), ("6m0s", 360.0), ("1h2m3s", 3723.0), ("", None), ("soon", None)],
)
def test_durations_as_servers_write_them(text: str, seconds: float | None) -> None:
    assert read_duration(text) == seconds


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({"retry-after": "20"}, 20.0, 24.0),
        ({"retry-after-ms": "1500", "retry-after": "20"}, 1.5, 1.8),
        ({"retry-after": "86400"}, 300.0, 360.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 2.0, 4.8),
        ({}, 2.0, 4.8),
    ],
    ids=["asked", "in milliseconds", "not for ever", "a date", "not asked"],
)
def test_a_429_holds_everybody_up(clock: list[float], headers: dict[str, str], least: float, most: float) -> None:
    """Where the server names no time, the pause of the third try: 4 seconds, or less by jitter. Waits are never cut short."""
    shared = Cooldown(PATIENCE, seed=0)
    shared.too_many_requests(headers, 3)
    assert least <= waited(clock, shared) <= most
    assert waited(clock, shared) == 0.0


def test_an_answer_that_used_the_last_of_a_limit_holds_everybody_up(clock: list[float]) -> None:
    shared = Cooldown(PATIENCE, seed=0)
    shared.read_limits({"x-ratelimit-remaining-requests": "7", "x-ratelimit-reset-requests": "9s"})
    assert waited(clock, shared) == 0.0
    shared.read_limits({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m30s"})
    assert 90.0 <= waited(clock, shared) <= 108.0


def test_a_shorter_wait_does_not_end_a_longer_one(clock: list[float]) -> None:
    shared = Cooldown(PATIENCE, seed=0)
    shared.too_many_requests({"retry-after": "30"}, 1)
    shared.too_many_requests({"retry-after": "1"}, 1)
    assert waited(clock, shared) >= 30.0
