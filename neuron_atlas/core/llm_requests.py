"""A request to a language model (`LlmRequest`) and what comes back (`Reply` or `NoReply`), as values.

A failed request returns a `NoReply` instead of raising, so that one bad request does not end a thousand good ones. What the text
of a reply means is decided by the module that sent the request, where the requested format and its parser stand together: for
labels `labeling/labelers/prompt.py`. The port is `LanguageModel` in `ports.py`; clients are in `adapters/language_model`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from neuron_atlas.core.hashing import content_hash

JsonSchema: TypeAlias = Mapping[str, object]
"""A JSON schema in the strict subset that structured outputs accept: every field required, none additional."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat request."""

    role: Literal["system", "user"]
    content: str


@dataclass(frozen=True, slots=True)
class LlmRequest:
    """One request. `schema` (named `schema_name`) is the form of the answer; None requests plain text. `max_tokens` caps the
    answer, thinking included. The same request with another `seed` is another request: the way to ask again."""

    messages: tuple[Message, ...]
    schema: JsonSchema | None = field(default=None, hash=False)
    schema_name: str = "answer"
    max_tokens: int = 4000
    seed: int = 0

    def key(self, model: str) -> str:
        """The sha256 of everything that shapes the answer of `model`, 64 hex digits."""
        return content_hash(
            [
                model,
                [[message.role, message.content] for message in self.messages],
                None if self.schema is None else [self.schema_name, self.schema],
                self.max_tokens,
                self.seed,
            ]
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """The text that came back and what it took. `cost_usd` is None where no price is known; `is_remembered`: it came from the
    ledger, so it was paid for before and cost nothing now."""

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float | None = None
    is_remembered: bool = False


@dataclass(frozen=True, slots=True)
class NoReply:
    """No usable answer. `refused`: the model declined; `truncated`: the answer did not fit into `max_tokens`; `failed`: no answer
    after every retry; `budget`: it was not sent, because the budget is spent."""

    why: Literal["refused", "truncated", "failed", "budget"]
    reason: str
