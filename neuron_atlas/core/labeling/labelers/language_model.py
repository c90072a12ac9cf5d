"""The labeler that asks a language model.

All neurons of a layer are asked at once. A reply that cannot be read, or was cut off, is requested again under another seed (and
with a larger token limit), a few times. What then remains is **unanswered**: an `Unlabeled` whose reason begins with
`UNANSWERED`, to be asked again on demand (`neuron-atlas label --retry`). Nothing of a reply that does not fit is used. The
request and the parser of its reply are in `prompt.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from neuron_atlas.core.labeling.evidence.evidence_record import Evidence
from neuron_atlas.core.labeling.evidence.labeler_answer import (
    LEFT_OUT,
    UNANSWERED,
    Label,
    Unlabeled,
    is_unanswered,
    made_safe,
)
from neuron_atlas.core.labeling.labelers.prompt import PROMPT_VERSION, label_messages, parse_reply, reply_schema
from neuron_atlas.core.llm_requests import LlmRequest, NoReply, Reply
from neuron_atlas.core.ports import LanguageModel
from neuron_atlas.core.records import Side
from neuron_atlas.errors import BadInput

ROUNDS = 3
"""How often one label is requested, at most."""
MAX_TOKENS = 4000
"""Token limit of one answer, thinking included; doubled after each answer that was cut off."""
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
        requests = {n: label_request(one, attempt=self.attempt) for n, one in enumerate(evidence)}
        n_yielded = 0
        for rounds_left in reversed(range(ROUNDS)):
            retries: dict[int, LlmRequest] = {}
            for n, outcome in zip(requests, self.model.ask(list(requests.values())), strict=True):
                answer = read_outcome(outcome, evidence[n].side)
                retry = _retry(requests[n], outcome, answer) if rounds_left else None
                if retry is not None:
                    retries[n] = retry
                else:
                    settled[n] = answer
                while n_yielded in settled:
                    yield settled[n_yielded]
                    n_yielded += 1
            requests = retries


def label_request(evidence: Evidence, *, attempt: int = 0) -> LlmRequest:
    """The request for one label."""
    return LlmRequest(
        label_messages(evidence),
        schema=reply_schema(evidence.side),
        schema_name="label",
        max_tokens=MAX_TOKENS,
        seed=attempt * ROUNDS,
    )


def read_outcome(outcome: Reply | NoReply, side: Side) -> Label | Unlabeled:
    """The label in a reply, an abstention, or `Unlabeled` because no usable answer came (see `UNANSWERED`, `LEFT_OUT`)."""
    if isinstance(outcome, NoReply):
        return _unlabeled(LEFT_OUT if outcome.why == "budget" else UNANSWERED, outcome.reason)
    try:
        return parse_reply(outcome.text, side)
    except BadInput as error:
        return _unlabeled(UNANSWERED, str(error))


def _retry(request: LlmRequest, outcome: Reply | NoReply, answer: Label | Unlabeled) -> LlmRequest | None:
    """The request to send next, where another try may help: one that was cut off with twice the limit, an unreadable one anew."""
    if isinstance(outcome, NoReply):
        is_cut_off = outcome.why == "truncated"
        return replace(request, max_tokens=request.max_tokens * 2, seed=request.seed + 1) if is_cut_off else None
    is_unreadable = isinstance(answer, Unlabeled) and is_unanswered(answer.reason)
    return replace(request, seed=request.seed + 1) if is_unreadable else None


def _unlabeled(kind: str, reason: str) -> Unlabeled:
    """A reason that fits where reasons stand."""
    return Unlabeled(reason=kind + made_safe(reason, _MOST_REASON - len(kind)))
