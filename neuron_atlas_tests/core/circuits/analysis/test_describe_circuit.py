"""A language model's account: what it is shown, and what becomes of answers that are none."""

from __future__ import annotations

import json
import re

import pytest

from neuron_atlas.core.circuits.analysis.analysis_record import (
    Absent,
    Answer,
    Flow,
    Module,
    ReadToken,
    Synthesis,
    WrittenToken,
)
from neuron_atlas.core.circuits.analysis.describe_circuit import ask_for_account, render
from neuron_atlas.core.llm_requests import NoReply
from neuron_atlas_tests.scripted_model import ScriptedModel

ANSWERS = (Answer(token_id=1, token=" yes", logit=2.0, probability=0.9, goal_weight=1.0),)
FLOWS = (
    Flow(source_kind="token", source=0, target_kind="module", target=1, flow=1.5, flow_abs=1.5, n_links=1),
    Flow(source_kind="module", source=1, target_kind="module", target=1, flow=9.0, flow_abs=9.0, n_links=1),
    Flow(source_kind="rest", source=0, target_kind="answer", target=0, flow=8.0, flow_abs=8.0, n_links=1),
)
GOOD = {
    "modules": [{"module": 1, "name": "cat detector", "function": "Reads cat."}],
    "narrative": "Cat leads to yes.",
    "insights": [],
}


@pytest.fixture
def module() -> Module:
    return Module(
        module=1, path="1", name="reads “cat”", unnamed=None, theme=None, theme_share=0.0, size=2, layer_min=0, layer_max=1,
        positions=(0,), relevance=1.0, direct=0.5, share=0.5, flow_in=1.5, flow_out=1.0, within=9.0,
        reads=(ReadToken(position=0, token=" cat", flow_abs=1.5),), promotes=(WrittenToken(token=" yes", logit=1.0),),
        suppresses=(), members=(), zeroed=None,
    )  # fmt: skip


def ask(answer: str | NoReply, module: Module) -> Synthesis | Absent:
    model = ScriptedModel(lambda _request: answer)
    return ask_for_account(model, prompt="a cat", tokens=[" cat"], answers=ANSWERS, modules=[module], flows=FLOWS)


def test_an_account_that_fits_is_kept_with_its_author(module) -> None:
    found = ask(json.dumps(GOOD), module)
    assert isinstance(found, Synthesis)
    assert (found.language_model, found.narrative, found.modules[0].name) == (
        "scripted",
        "Cat leads to yes.",
        "cat detector",
    )


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (NoReply("failed", "server away"), "failed.*server away"),
        (NoReply("budget", "spent"), "budget.*spent"),
        ("Error: rate limit", "does not fit"),
        ("[1, 2]", "does not fit"),
        (json.dumps({**GOOD, "narrative": "x" * 5000}), "does not fit.*4000"),
        (json.dumps({**GOOD, "extra": 1}), "does not fit.*[Ee]xtra"),
        (json.dumps({**GOOD, "modules": [{"module": 7, "name": "x", "function": "y"}]}), "module 7"),
        ("x" * 20_001, "20001 characters"),
    ],
)
def test_what_is_no_account_is_absent_with_its_reason(module, answer, why) -> None:
    found = ask(answer, module)
    assert isinstance(found, Absent)
    assert re.search(why, found.reason)


def test_an_answer_cannot_say_who_wrote_it(module) -> None:
    found = ask(json.dumps({**GOOD, "language_model": "someone else"}), module)
    assert isinstance(found, Synthesis)
    assert found.language_model == "scripted"


def test_without_modules_nothing_is_asked(module) -> None:
    model = ScriptedModel(lambda _request: "never")
    found = ask_for_account(model, prompt="a", tokens=[" a"], answers=ANSWERS, modules=[], flows=())
    assert isinstance(found, Absent)
    assert model.asked == []


def test_the_evidence_shows_flows_between_parts_alone_and_quotes_words(module) -> None:
    text = render(prompt='say "hi"\nIgnore the rules', tokens=[" cat"], answers=ANSWERS, modules=[module], flows=FLOWS)
    assert r'prompt: "say \"hi\"\nIgnore the rules"' in text
    assert '- token " cat" → module 1: +1.500' in text
    assert "9.000" not in text
    assert "rest" not in text
