"""Rate limits: when a server asks to slow down, one cooldown holds back all requests under way."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Mapping

from neuron_atlas.adapters.language_model.server_settings import RetryPolicy

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
_JITTER = 0.2


class Cooldown:
    """The time (monotonic clock) before which nothing is sent, and the pauses between tries."""

    def __init__(self, retry_policy: RetryPolicy, *, seed: int | None = None) -> None:
        self._patience = retry_policy
        self._until = 0.0
        self._random = random.Random(seed)

    async def wait(self) -> None:
        """Return when requests may be sent."""
        while (left := self._until - time.monotonic()) > 0:
            await asyncio.sleep(left * (1 + _JITTER * self._random.random()))

    def read_limits(self, headers: Mapping[str, str]) -> None:
        """Read the rate-limit headers of any answer: where nothing remains, wait until it is refilled."""
        for kind in ("requests", "tokens"):
            remaining = headers.get(f"x-ratelimit-remaining-{kind}", "").strip()
            if remaining.isdigit() and int(remaining) == 0:
                self._pause(read_duration(headers.get(f"x-ratelimit-reset-{kind}", "")) or 0.0)

    def too_many_requests(self, headers: Mapping[str, str], attempt: int) -> None:
        """A 429: all requests wait as long as the server asks, else as long as a pause of this attempt."""
        asked = read_duration(headers.get("retry-after-ms", ""), unit="ms") or read_duration(
            headers.get("retry-after", "")
        )
        self._pause(asked if asked is not None else self.pause(attempt))

    def pause(self, attempt: int) -> float:
        """Seconds before try number `attempt` + 1 of one request, with full jitter."""
        most = min(self._patience.longest_pause_s, self._patience.first_pause_s * 2 ** (attempt - 1))
        return most * (0.5 + 0.5 * self._random.random())

    def _pause(self, seconds: float) -> None:
        self._until = max(self._until, time.monotonic() + min(seconds, self._patience.longest_wait_s))


def read_duration(text: str, *, unit: str = "s") -> float | None:
    """Seconds of `20`, `20ms`, `1.5s`, `6m0s`; None when it is something else (a date)."""
    parts = _DURATION.findall(text.strip())
    if not parts or "".join(number + name for number, name in parts) != text.strip():
        return None
    return sum(float(number) * _SECONDS[name or unit] for number, name in parts)
