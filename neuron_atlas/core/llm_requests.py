"""What is asked of a language model and what comes back, as values.

An answer that did not come is a value too (`NoReply`), so that one bad request never ends a thousand good ones. What the text
of a reply means is the business of whoever asked: the format asked for and its parser stand together there. The port is
`LanguageModel` in `ports.py`; clients are in `adapters/language_model`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
class Ask:
    """One request. `schema` (named `schema_name`) is the form of the answer; None asks for plain text. `max_tokens` caps the
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
    """The text that came back and what it took. `cost_usd` is None where no price is known; `is_remembered`: it was paid for
    before and cost nothing now."""

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float | None = None
    is_remembered: bool = False


@dataclass(frozen=True, slots=True)
class NoReply:
    """No usable answer. `refused`: the model declined; `truncated`: the answer did not fit into `max_tokens`; `failed`: no answer
    after every retry; `budget`: it was not asked, for the money is spent."""

    why: Literal["refused", "truncated", "failed", "budget"]
    reason: str


@dataclass
class ScriptedModel:
    """A language model whose answers a function gives: for tests and for trying things offline. Fulfils `LanguageModel`.

    `asked` keeps every request in order.
    """

    answer: Callable[[Ask], str | NoReply]
    name: str = "scripted"
    asked: list[Ask] = field(default_factory=list[Ask])

    def ask(self, requests: Sequence[Ask]) -> Iterator[Reply | NoReply]:
        """One answer per request, in order."""
        for request in requests:
            self.asked.append(request)
            answered = self.answer(request)
            yield answered if isinstance(answered, NoReply) else Reply(answered)
