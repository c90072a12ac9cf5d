"""A language model whose replies a function gives, for the tests of whatever asks one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from neuron_atlas.core.llm_requests import LlmRequest, NoReply, Reply


@dataclass
class ScriptedModel:
    """Fulfils `LanguageModel`; `asked` keeps every request in order."""

    answer: Callable[[LlmRequest], str | NoReply]
    name: str = "scripted"
    asked: list[LlmRequest] = field(default_factory=list[LlmRequest])

    def ask(self, requests: Sequence[LlmRequest]) -> Iterator[Reply | NoReply]:
        """One answer per request, in order."""
        for request in requests:
            self.asked.append(request)
            answered = self.answer(request)
            yield answered if isinstance(answered, NoReply) else Reply(answered)
