"""Names and identities: one text form, ids from content."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuron_atlas.core.records import NeuronId, Prompt, layer_key, layer_of_key
from neuron_atlas.errors import BadInput


@given(st.integers(0, 200), st.integers(0, 200_000))
def test_neuron_text_form_is_read_back(layer: int, neuron: int) -> None:
    assert NeuronId.parse(str(NeuronId(layer, neuron))) == NeuronId(layer, neuron)
    assert layer_of_key(layer_key(layer)) == layer


@pytest.mark.parametrize("text", ["", "18/6721", "L18N6721", "L-1/N2", "L1/N2/3", "L1/N²"])
def test_other_forms_are_refused_with_the_right_one(text: str) -> None:
    with pytest.raises(BadInput, match="L18/N6721"):
        NeuronId.parse(text)


def test_prompt_id_depends_on_everything_that_shapes_the_graph_and_on_nothing_else() -> None:
    prompt = Prompt("the capital of Texas is", target_tokens=(" Austin",))
    assert prompt.prompt_id == Prompt("the capital of Texas is", target_tokens=(" Austin",), tags={"a": "b"}).prompt_id
    others = {
        Prompt("the capital of Texas is").prompt_id,
        Prompt("the capital of Texas is", target_tokens=(" Austin",), raw=True).prompt_id,
        Prompt("the capital of Texas is", target_tokens=(" Austin",), position=-2).prompt_id,
        Prompt("the capital of Texas is", contrast=(" Austin", " Boise")).prompt_id,
        Prompt("the capital of Texas is", target_tokens=(" Austin",), answer_prefix="It is").prompt_id,
    }
    assert len(others | {prompt.prompt_id}) == 6
