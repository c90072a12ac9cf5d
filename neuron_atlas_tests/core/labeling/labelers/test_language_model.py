"""A language model as labeler: replies are read strictly, asked for again where that may help, and never half believed."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuron_atlas.core.labeling.evidence.evidence_record import OutputEvidence
from neuron_atlas.core.labeling.evidence.labeler_answer import Label, Unlabeled, is_unanswered
from neuron_atlas.core.labeling.labelers.language_model import ROUNDS, LanguageModelLabeler
from neuron_atlas.core.llm_requests import LlmRequest, NoReply
from neuron_atlas_tests.scripted_model import ScriptedModel

NONE = {"hypothesis": "none", "contradicted_by": "none"}


def good(**more: object) -> str:
    reply = {
        "specific": NONE, "medium": NONE, "general": NONE, "is_interpretable": True, "reason": "", "label": "state capitals",
        "description": "Raises names of capitals.", "type": "semantic", "confidence": 0.5, "tokens": [], "direction": "rises",
    }  # fmt: skip
    return json.dumps(reply | more)


def evidence(n: int) -> list[OutputEvidence]:
    return [OutputEvidence(layer=0, neuron=k, polarity=1) for k in range(n)]


def neuron_of(request: LlmRequest) -> int:
    return int(request.messages[-1].content.split("L0/N")[1].split("+")[0])


def test_every_neuron_gets_its_answer_in_order() -> None:
    model = ScriptedModel(lambda request: good(label=f"label number {neuron_of(request)}"))
    labeler = LanguageModelLabeler(model)
    answers = list(labeler.label(evidence(5)))
    assert [a.label for a in answers if isinstance(a, Label)] == [f"label number {k}" for k in range(5)]
    assert labeler.version == "scripted explain/1"
    assert all(request.schema is not None for request in model.asked)


@pytest.mark.parametrize("first", ["{", good(label="see https://evil.example"), good(type="context")])
def test_a_reply_that_cannot_be_read_is_asked_for_again(first: str) -> None:
    model = ScriptedModel(lambda request: good() if request.seed else first)
    (answer,) = LanguageModelLabeler(model).label(evidence(1))
    assert isinstance(answer, Label)
    assert [request.seed for request in model.asked] == [0, 1]


def test_an_answer_that_was_cut_off_gets_a_larger_limit() -> None:
    model = ScriptedModel(lambda request: good() if request.max_tokens > 10_000 else NoReply("truncated", "truncated"))
    (answer,) = LanguageModelLabeler(model).label(evidence(1))
    assert isinstance(answer, Label)
    assert [request.max_tokens for request in model.asked] == [4000, 8000, 16000]


@pytest.mark.parametrize("why", ["refused", "failed"])
def test_a_refusal_or_failure_is_unanswered_with_its_reason(why: str) -> None:
    model = ScriptedModel(lambda request: NoReply(why, f"{why}: see <https://x>\n no"))
    (answer,) = LanguageModelLabeler(model).label(evidence(1))
    assert answer == Unlabeled(reason=f"no label came: {why}: see //x no")
    assert is_unanswered(answer.reason)
    assert len(model.asked) == 1


def test_after_the_last_round_an_unreadable_reply_is_unanswered() -> None:
    model = ScriptedModel(lambda request: "{")
    (answer,) = LanguageModelLabeler(model).label(evidence(1))
    assert isinstance(answer, Unlabeled)
    assert is_unanswered(answer.reason)
    assert len(model.asked) == ROUNDS


def test_an_abstention_and_a_spent_budget_are_not_unanswered() -> None:
    replies = [
        good(is_interpretable=False, reason="nothing in common", label=""),
        NoReply("budget", "the budget is spent"),
    ]
    answers = list(LanguageModelLabeler(ScriptedModel(lambda request: replies[neuron_of(request)])).label(evidence(2)))
    assert answers == [Unlabeled(reason="nothing in common"), Unlabeled(reason="left out: the budget is spent")]
    assert not any(isinstance(a, Unlabeled) and is_unanswered(a.reason) for a in answers)


@given(st.lists(st.sampled_from(["good", "bad", "late", "cut", "refused"]), max_size=12))
@settings(deadline=None)
def test_whatever_comes_there_is_one_answer_each_in_order(fates: list[str]) -> None:
    def answer(request: LlmRequest) -> str | NoReply:
        fate = fates[neuron_of(request)]
        if fate == "refused":
            return NoReply("refused", "no")
        if fate == "cut" and request.seed == 0:
            return NoReply("truncated", "cut")
        return (
            "{"
            if fate == "bad" or (fate == "late" and request.seed < 2)
            else good(label=f"number {neuron_of(request)}")
        )

    model = ScriptedModel(answer)
    answers = list(LanguageModelLabeler(model).label(evidence(len(fates))))
    shown = [a.label if isinstance(a, Label) else "refused" for a in answers]
    assert shown == [f"number {n}" if fate in ("good", "late", "cut") else "refused" for n, fate in enumerate(fates)]
    tries = Counter(neuron_of(request) for request in model.asked)
    assert [tries[n] for n in range(len(fates))] == [
        {"good": 1, "bad": 3, "late": 3, "cut": 2, "refused": 1}[fate] for fate in fates
    ]
