"""Which server is asked, how often a request is retried, and at what price."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from neuron_atlas.core.llm_requests import LlmRequest

BYTES_PER_TOKEN = 3
"""A cautious guess for text full of numbers and quotes; only used before a server has counted."""


@dataclass(frozen=True, slots=True)
class Server:
    """An OpenAI-compatible server. Without `base_url` it is OpenAI's own. The key never shows in a repr."""

    model: str
    api_key: str = field(repr=False)
    base_url: str | None = None

    @property
    def address(self) -> str:
        """What distinguishes this model on this server from the same name elsewhere."""
        return f"{self.model} {self.base_url}" if self.base_url else self.model


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to wait and how often to retry.

    A request may take `timeout_s` in all. Pauses between tries begin at `first_pause_s` and double with jitter up to
    `longest_pause_s`; a server that asks for a longer one gets it, up to `longest_wait_s`. `grace_s` is given to requests under
    way when everything is to stop. A batch's state is polled every `poll_s`, later less often.
    """

    tries: int = 8
    timeout_s: float = 180.0
    first_pause_s: float = 1.0
    longest_pause_s: float = 60.0
    longest_wait_s: float = 900.0
    grace_s: float = 5.0
    poll_s: float = 15.0


@dataclass(frozen=True, slots=True)
class Prices:
    """USD per million tokens in and out."""

    input_usd: float
    output_usd: float

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """What so many tokens cost, USD."""
        return (prompt_tokens * self.input_usd + completion_tokens * self.output_usd) / 1e6

    def worst(self, request: LlmRequest) -> float:
        """The most a request can cost, USD."""
        return self.cost(guessed_tokens(request), request.max_tokens)


def guessed_tokens(request: LlmRequest) -> int:
    """Tokens of a request's messages and schema, guessed from its bytes."""
    size = sum(len(message.content.encode("utf-8", "replace")) for message in request.messages)
    return math.ceil((size + len(str(request.schema or ""))) / BYTES_PER_TOKEN)
