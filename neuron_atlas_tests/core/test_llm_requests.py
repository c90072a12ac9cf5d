"""Requests are told apart by everything that shapes their answer, and by nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from neuron_atlas.core.llm_requests import LlmRequest, Message, NoReply, Reply
from neuron_atlas_tests.scripted_model import ScriptedModel

ASK = LlmRequest((Message("system", "Be short."), Message("user", "Name a colour.")), schema={"type": "object"})


@pytest.mark.parametrize(
    "other",
    [
        replace(ASK, seed=1),
        replace(ASK, max_tokens=7),
        replace(ASK, schema=None),
        replace(ASK, schema={"type": "array"}),
        replace(ASK, schema_name="colour"),
        replace(ASK, messages=ASK.messages[:1]),
        replace(ASK, messages=(Message("user", "Be short."), ASK.messages[1])),
    ],
)
def test_whatever_shapes_the_answer_changes_the_key(other: LlmRequest) -> None:
    assert other.key("m") != ASK.key("m")
    assert ASK.key("m") != ASK.key("n")
    assert ASK.key("m") == replace(ASK).key("m")


def test_the_scripted_model_answers_in_order_and_remembers_what_it_was_asked() -> None:
    model = ScriptedModel(lambda request: "red" if request.seed else NoReply("refused", "no colours today"))
    assert list(model.ask([ASK, replace(ASK, seed=1)])) == [NoReply("refused", "no colours today"), Reply("red")]
    assert [request.seed for request in model.asked] == [0, 1]
