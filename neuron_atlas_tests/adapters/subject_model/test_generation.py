"""Writing on with the real model: the cache changes nothing, seeds repeat, edits hold at old and new tokens, ends are ends."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from neuron_atlas.adapters.subject_model.load import load_model
from neuron_atlas.core.attribution.linearisation.rules import rule_set
from neuron_atlas.core.records import Edit, Prompt, Turn
from neuron_atlas.errors import BadInput

IDS = [0, 5, 17, 9, 30]
TEMPLATE = (
    "{{ '<s>' }}{% for m in messages %}{% if m['role'] == 'system' and not loop.first %}{{ raise_exception('late') }}{% endif %}"
    "{{ ' a' if m['role'] == 'user' else ' w1' }}{{ m['content'] }}{% endfor %}{% if add_generation_prompt %} w1{% endif %}"
)


@pytest.mark.parametrize("name", ["llama", "gpt2", "mistral", "qwen2", "gemma2", "gemma3"])
def test_each_token_is_the_likeliest_after_all_before_it(tiny, name) -> None:
    """The cache of keys and values, sliding windows included, gives what a whole pass gives."""
    model = tiny(name)
    written = list(model.generate(IDS, max_new_tokens=8))
    ids = list(IDS)
    for token in written:
        assert token == int(model.logits(ids)[0].argmax())
        ids.append(token)
    assert len(written) == 8 or int(model.logits(ids)[0].argmax()) == 1


@pytest.fixture(params=["llama", "gpt2"])
def model(request, tiny):
    return tiny(request.param)


def test_seeds_repeat_and_differ_and_temperature_spreads(model) -> None:
    def write(**how) -> list[int]:
        return list(model.generate(IDS, max_new_tokens=12, **how))

    assert write(temperature=1.0, seed=3) == write(temperature=1.0, seed=3)
    assert len({tuple(write(temperature=2.0, seed=seed)) for seed in range(6)}) > 1
    assert write(temperature=1e-6, seed=5) == write()
    first = [next(model.generate(IDS, temperature=1.0, seed=seed, max_new_tokens=1), 1) for seed in range(150)]
    logits = model.logits(IDS)[0].astype(np.float64)
    chances = np.exp(logits - logits.max())
    likeliest = int(logits.argmax())
    share, expected = np.mean(np.array(first) == likeliest), (chances / chances.sum())[likeliest]
    assert abs(share - expected) < 4 * (expected * (1 - expected) / 150) ** 0.5


def test_edits_hold_while_writing_at_every_token_or_one(model) -> None:
    """Reference law: each new token is what the edited model says after all before it."""
    everywhere, at_two, at_new = Edit(1, 4, 5.0), Edit(0, 2, -9.0, position=2, how="add"), Edit(2, 3, 7.0, position=6)
    edits = [everywhere, at_two, at_new]
    ids = list(IDS)
    for token in model.generate(IDS, edits=edits, max_new_tokens=5):
        held = [e for e in edits if e.position is None or e.position < len(ids)]
        assert token == int(model.logits(ids, edits=[held])[0].argmax())
        ids.append(token)
    strong = [Edit(2, n, 50.0) for n in range(20)]
    assert list(model.generate(IDS, edits=strong, max_new_tokens=6)) != list(model.generate(IDS, max_new_tokens=6))


def test_writing_stops_at_the_end_of_the_text_or_the_context(model, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(list(model.generate(IDS, max_new_tokens=500))) <= model.max_positions - len(IDS)
    assert list(model.generate(list(range(3, 35)), max_new_tokens=5)) == []
    assert list(model.generate(IDS, max_new_tokens=0)) == []
    written = list(model.generate(IDS, max_new_tokens=6))
    monkeypatch.setattr(model.module.generation_config, "eos_token_id", [1, written[3]])
    assert list(model.generate(IDS, max_new_tokens=6)) == written[: written.index(written[3])]


def test_writing_may_be_left_and_another_pass_made_between(model) -> None:
    """A half-read generator holds no hooks and no lock."""
    whole = list(model.generate(IDS, edits=[Edit(1, 4, 9.0)], max_new_tokens=4))
    clean = model.logits(IDS)
    begun = model.generate(IDS, edits=[Edit(1, 4, 9.0)], max_new_tokens=4)
    first = list(itertools.islice(begun, 2))
    np.testing.assert_array_equal(model.logits(IDS), clean)
    assert first + list(begun) == whole


def test_reference_edits_outside_are_refused(model) -> None:
    """A token out of range was not noticed."""
    for edit in (Edit(3, 0, 1.0), Edit(0, 20, 1.0), Edit(0, 0, 1.0, position=99)):
        with pytest.raises(BadInput, match="outside a"):
            model.generate(IDS, edits=[edit], max_new_tokens=3)
    for temperature in (-1.0, float("nan"), float("inf")):
        with pytest.raises(BadInput, match="temperature"):
            model.generate(IDS, temperature=temperature)


def test_activations_and_derivatives_are_those_of_the_edited_model(model) -> None:
    edits = [Edit(0, 3, 4.0, position=1), Edit(1, 7, 0.0)]
    (clean,), (edited,) = model.activations([IDS]), model.activations([IDS], edits=edits)
    assert edited[0, 1, 3] == 4.0
    assert (edited[1, :, 7] == 0).all()
    np.testing.assert_allclose(edited[0, 0], clean[0, 0], rtol=1e-5)
    assert np.abs(edited[2, 1:] - clean[2, 1:]).max() > 1e-3
    over = np.zeros(47, np.float32)
    over[7] = 1.0
    derivatives = model.differentiate(IDS, rule_set("gradient"), edits=edits)
    import torch

    relevance, _ = derivatives.relevance(torch.as_tensor(over))
    assert float(relevance[1, :, 7].abs().max()) == 0.0  # its own value no longer reaches anything
    nudged = [[*edits, Edit(2, 5, how="add", value=e, position=4)] for e in (0.01, -0.01)]
    up, down = model.logits(IDS, edits=nudged).astype(np.float64) @ over
    assert float(relevance[2, 4, 5]) == pytest.approx((up - down) / 0.02 * edited[2, 4, 5], rel=0.02, abs=1e-4)


# ------------------------------------------------------------------------------------------------------------- conversations
def test_a_conversation_without_a_template_is_plain_text(tiny) -> None:
    model = tiny("llama")
    turns = [Turn("user", "w0 w1"), Turn("assistant", " w2 w3"), Turn("user", "w4")]
    assert model.encode_turns(turns) == model.encode(Prompt("w0 w1 w2 w3 w4", raw=True))
    assert model.encode_turns(turns, answer_prefix="w5")[-1] == model.token_id(" w5")[0]
    assert model.continuation(model.encode(Prompt("w0 w1")), [model.token_id(" w2")[0], 1]) == " w2"
    with pytest.raises(BadInput, match="conversation is empty"):
        model.encode_turns([])
    with pytest.raises(BadInput, match="control token"):
        model.encode_turns([Turn("user", "w0 </s> w1")])


def test_a_conversation_goes_through_the_models_own_template(model_folder, write_tokenizer) -> None:
    write_tokenizer(model_folder, template=TEMPLATE)
    model = load_model(str(model_folder), device="cpu")
    turns = [Turn("user", " w5"), Turn("assistant", " w6"), Turn("user", " w7")]
    texts = [model.token_text(token) for token in model.encode_turns(turns, answer_prefix=" w8")]
    assert texts == ["<s>", " a", " w5", " w1", " w6", " a", " w7", " w1", " w8"]
    assert [model.token_text(t) for t in model.encode_turns(turns[:2])] == ["<s>", " a", " w5", " w1", " w6"]
    with pytest.raises(BadInput, match="does not take the roles user, system: late"):
        model.encode_turns([Turn("user", " w5"), Turn("system", " w6")])
