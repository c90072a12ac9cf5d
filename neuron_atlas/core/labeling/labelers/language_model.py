"""The labeler that asks a language model.

All neurons of a layer are asked at once. A reply that cannot be read, or was cut off, is asked for again under another seed (and
more room), a few times; what then remains is a **dead letter**: an `Unlabeled` whose reason says so, to be asked again on
demand. Nothing of a reply that does not fit is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from neuron_atlas.core.labeling.evidence.evidence_record import Evidence
from neuron_atlas.core.labeling.evidence.label_record import (
    LEFT_OUT,
    UNANSWERED,
    Label,
    Unlabeled,
    is_unanswered,
    made_safe,
)
from neuron_atlas.core.labeling.labelers.prompt import PROMPT_VERSION, parse_reply, reply_schema, request
from neuron_atlas.core.llm_requests import LlmRequest, NoReply, Reply
from neuron_atlas.core.ports import LanguageModel
from neuron_atlas.core.records import Side
from neuron_atlas.errors import BadInput

ROUNDS = 3
"""How often one label is asked for."""
MAX_TOKENS = 4000
"""Room for one answer, thinking included; doubled after each answer that was cut off."""
_MOST_REASON = 200


class LanguageModelLabeler:
    """Fulfils `Labeler`. `name` is openai or openai-batch: how the model is reached. Another `attempt` asks for other answers to
    the same evidence."""

    def __init__(self, model: LanguageModel, *, name: str = "openai", attempt: int = 0) -> None:
        self.model = model
        self.name = name
        self.attempt = attempt

    @property
    def version(self) -> str:
        """Model and prompt template."""
        return f"{self.model.name} {PROMPT_VERSION}"

    def label(self, evidence: Sequence[Evidence]) -> Iterator[Label | Unlabeled]:
        """One answer per piece of evidence, in order. The most important ones stand first where money may end."""
        settled: dict[int, Label | Unlabeled] = {}
        asks = {n: question(one, attempt=self.attempt) for n, one in enumerate(evidence)}
        given = 0
        for rounds_left in reversed(range(ROUNDS)):
            again: dict[int, LlmRequest] = {}
            for n, outcome in zip(asks, self.model.ask(list(asks.values())), strict=True):
                answer = read_outcome(outcome, evidence[n].side)
                next_ask = _ask_again(asks[n], outcome, answer) if rounds_left else None
                if next_ask is not None:
                    again[n] = next_ask
                else:
                    settled[n] = answer
                while given in settled:
                    yield settled[given]
                    given += 1
            asks = again


def question(evidence: Evidence, *, attempt: int = 0) -> LlmRequest:
    """The request for one label."""
    return LlmRequest(
        request(evidence),
        schema=reply_schema(evidence.side),
        schema_name="label",
        max_tokens=MAX_TOKENS,
        seed=attempt * ROUNDS,
    )


def read_outcome(outcome: Reply | NoReply, side: Side) -> Label | Unlabeled:
    """The label in a reply, an honest abstention, or a dead letter."""
    if isinstance(outcome, NoReply):
        return _unlabeled(LEFT_OUT if outcome.why == "budget" else UNANSWERED, outcome.reason)
    try:
        return parse_reply(outcome.text, side)
    except BadInput as error:
        return _unlabeled(UNANSWERED, str(error))


def _ask_again(ask: LlmRequest, outcome: Reply | NoReply, answer: Label | Unlabeled) -> LlmRequest | None:
    """The request to send next, where another try may help."""
    if isinstance(outcome, NoReply):
        if outcome.why != "truncated":
            return None
        return LlmRequest(ask.messages, ask.schema, ask.schema_name, ask.max_tokens * 2, ask.seed + 1)
    is_dead = isinstance(answer, Unlabeled) and is_unanswered(answer.reason)
    return LlmRequest(ask.messages, ask.schema, ask.schema_name, ask.max_tokens, ask.seed + 1) if is_dead else None


def _unlabeled(kind: str, reason: str) -> Unlabeled:
    """A reason that fits where reasons stand."""
    return Unlabeled(reason=kind + made_safe(reason, _MOST_REASON - len(kind)))
