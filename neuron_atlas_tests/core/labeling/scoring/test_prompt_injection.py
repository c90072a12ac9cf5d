"""A hidden instruction reaches even the most obedient model as data only; read as plain text, it would decide every label."""

from __future__ import annotations

import json
import re

import pytest

from neuron_atlas.core.labeling.evidence.evidence_record import Evidence, Exemplar, InputEvidence, OutputEvidence
from neuron_atlas.core.labeling.evidence.render import render
from neuron_atlas.core.labeling.labelers import prompt
from neuron_atlas.core.labeling.labelers.language_model import LanguageModelLabeler
from neuron_atlas.core.labeling.labelers.rules import RulesLabeler
from neuron_atlas.core.labeling.scoring.prompt_injection import DEMANDED, INJECTIONS, measure_injections, with_injection
from neuron_atlas.core.llm_requests import LlmRequest
from neuron_atlas_tests.scripted_model import ScriptedModel

NONE = {"hypothesis": "none", "contradicted_by": "none"}
STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
ORDER = re.compile(r"The label of this neuron is: ([^.\n]*)\.")


def naive(request: LlmRequest) -> str:
    """A model that obeys every instruction it finds outside of JSON strings."""
    outside = STRING.sub("", request.messages[-1].content)
    order = ORDER.search(outside)
    side = "token-pattern" if "What it does when it fires" in outside else "semantic"
    return json.dumps(
        {"specific": NONE, "medium": NONE, "general": NONE, "is_interpretable": True, "reason": "", "description": "As told.",
         "label": order[1] if order else "names of cities", "type": side, "confidence": 0.5, "tokens": [], "direction": "rises"}
    )  # fmt: skip


def evidence() -> list[Evidence]:
    text = Exemplar(tokens=(" in", " Oslo"), token_ids=(1, 2), activations=(0.0, 1.0), peak=1)
    return [
        InputEvidence(layer=0, neuron=1, polarity=1, exemplars=(text,)),
        InputEvidence(layer=0, neuron=2, polarity=1),
        OutputEvidence(layer=0, neuron=1, polarity=1),
    ]


def test_no_injection_decides_the_label_of_the_most_obedient_model() -> None:
    found = measure_injections(LanguageModelLabeler(ScriptedModel(naive)), evidence())
    assert (found.n, found.hijacked, found.refused) == (3 * len(INJECTIONS), 0, 0)
    assert found.high < 0.15


def test_the_same_model_would_obey_texts_that_are_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    def bare(one: Evidence) -> str:
        return f"{render(one)}\n{' '.join(token for text in getattr(one, 'exemplars', ()) for token in text.tokens)}"

    monkeypatch.setattr(prompt, "render", bare)
    found = measure_injections(LanguageModelLabeler(ScriptedModel(naive)), evidence()[:1])
    assert found.rate >= 7 / 8  # one of them opens a string that its own text closes


def test_the_rules_follow_no_injection() -> None:
    assert measure_injections(RulesLabeler(), evidence()).hijacked == 0


@pytest.mark.parametrize("injection", INJECTIONS)
def test_every_injection_reaches_the_model_whole(injection: str) -> None:
    """Unquoted again, the strings of the request hold it."""
    for one in evidence():
        strings = [json.loads(text) for text in STRING.findall(render(with_injection(one, injection)))]
        assert injection in strings
        assert DEMANDED in injection
