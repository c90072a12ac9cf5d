"""Running the real model: activations, edits, positions, derivatives of other rule sets."""

import numpy as np
import pytest
import torch

from neuron_atlas.adapters.subject_model.load import load_model
from neuron_atlas.core.attribution.linearisation.freeze import first_non_finite
from neuron_atlas.core.attribution.linearisation.rules import rule_set
from neuron_atlas.core.attribution.select_nodes import Nodes
from neuron_atlas.core.records import Edit, Prompt
from neuron_atlas.errors import BadInput

IDS = [0, 5, 17, 9, 30]


@pytest.fixture(params=["llama", "gpt2"])
def model(request, tiny):
    return tiny(request.param)


def test_activations_come_per_sequence_and_do_not_depend_on_company(model) -> None:
    sequences = [IDS, IDS[:2], [7, 8, 9]]
    together = list(model.activations(sequences))
    assert [a.shape for a in together] == [(3, 5, 20), (3, 2, 20), (3, 3, 20)]
    for ids, activation in zip(sequences, together, strict=True):
        (alone,) = model.activations([ids])
        np.testing.assert_allclose(activation, alone, rtol=1e-4, atol=1e-5)


def test_recording_several_prompts_is_recording_each(model) -> None:
    together = model.record([IDS, IDS[:3]])
    for recording, ids in zip(together, (IDS, IDS[:3]), strict=True):
        (alone,) = model.record([ids])
        torch.testing.assert_close(recording.logits, alone.logits, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(recording.layers[2].pattern, alone.layers[2].pattern, rtol=1e-4, atol=1e-5)


def test_an_edit_that_sets_what_is_there_changes_nothing_and_others_do_what_they_say(model) -> None:
    (activation,) = model.activations([IDS])
    value = float(activation[1, 3, 4])
    edits = [
        [],
        [Edit(1, 4, value, position=3)],
        [Edit(1, 4, 0.0, position=3)],
        [Edit(1, 4, -value, position=3, how="add")],
        [Edit(1, 4, 0.0, position=3, how="scale")],
        [Edit(1, 4, 0.0, position=-2)],
        [Edit(1, 4, 0.0)],
    ]
    clean, same, zeroed, added, scaled, from_end, everywhere = model.logits(IDS, edits=edits)
    np.testing.assert_allclose(same, clean, rtol=1e-5, atol=1e-6)
    assert np.abs(zeroed - clean).max() > 1e-3
    for other in (added, scaled, from_end):
        np.testing.assert_allclose(other, zeroed, rtol=1e-5, atol=1e-6)
    assert np.abs(everywhere - zeroed).max() > 1e-3


def test_edits_of_one_row_do_not_touch_another(model) -> None:
    edit = [Edit(0, 2, 9.0, position=1)]
    first, second, third = model.logits(IDS, edits=[edit, [], edit])
    np.testing.assert_allclose(first, third, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(second, model.logits(IDS)[0], rtol=1e-5, atol=1e-6)


def test_logits_at_a_position_see_only_what_is_before(model) -> None:
    np.testing.assert_allclose(model.logits(IDS, position=2), model.logits(IDS[:3]), rtol=1e-5, atol=1e-6)
    late = [[Edit(0, 2, 9.0, position=4)]]
    np.testing.assert_allclose(
        model.logits(IDS, position=2, edits=late), model.logits(IDS, position=2), rtol=1e-5, atol=1e-6
    )


def test_more_edits_than_fit_one_pass_are_split(model, monkeypatch: pytest.MonkeyPatch) -> None:
    edits = [[Edit(2, n, 1.0, position=4)] for n in range(7)]
    whole = model.logits(IDS, edits=edits)
    monkeypatch.setattr("neuron_atlas.adapters.subject_model.huggingface.TOKENS_PER_PASS", 10)
    np.testing.assert_allclose(model.logits(IDS, edits=edits), whole, rtol=1e-5, atol=1e-6)


def test_places_outside_the_model_or_sequence_are_refused(model) -> None:
    for edit in (Edit(3, 0, 1.0), Edit(0, 20, 1.0), Edit(0, 0, 1.0, position=5)):
        with pytest.raises(BadInput, match="outside a"):
            model.logits(IDS, edits=[[edit]])
    with pytest.raises(BadInput, match="position 5 is outside a sequence of 5 tokens"):
        model.logits(IDS, position=5)
    with pytest.raises(BadInput, match="layer 3 is outside"):
        model.mlp_weights(3)


def test_plain_gradient_agrees_with_what_a_small_nudge_of_the_real_model_does(model) -> None:
    """relevance = v · dM/dv with everything live: compare with (M(v + e) - M(v - e)) / 2e on the real model."""
    over_logits = torch.zeros(47)
    over_logits[7], over_logits[11] = 1.0, -1.0
    relevance, _ = model.differentiate(IDS, rule_set("gradient")).relevance(over_logits)
    (activation,) = model.activations([IDS])
    places = [(0, 1, 2), (1, 4, 10), (2, 4, 3)]
    edits = [[Edit(layer, n, how="add", value=e, position=p)] for layer, p, n in places for e in (0.01, -0.01)]
    goals = model.logits(IDS, edits=edits).astype(np.float64) @ over_logits.numpy()
    slopes = (goals[::2] - goals[1::2]) / 0.02
    for (layer, p, n), slope in zip(places, slopes, strict=True):
        assert float(relevance[layer, p, n]) == pytest.approx(slope * activation[layer, p, n], rel=0.02, abs=1e-4)


def test_live_query_and_key_change_relevance_and_freezing_them_does_not_change_values(tiny) -> None:
    model = tiny("llama")
    over_logits = torch.zeros(47)
    over_logits[7] = 1.0
    half, _ = model.differentiate(IDS, rule_set("relp")).relevance(over_logits)
    live, _ = model.differentiate(IDS, rule_set("half+qk")).relevance(over_logits)
    # The last layer's neurons at the last position reach the logit through no attention: both agree there.
    torch.testing.assert_close(half[2, -1], live[2, -1], rtol=1e-4, atol=1e-6)
    assert float((half[0] - live[0]).abs().max()) > 1e-3


def test_direct_effects_of_a_live_rule_set_stop_at_every_mlp(tiny) -> None:
    """The last layer's neurons have no MLP above: direct and total effect on the logit are the same; the first layer's not."""
    model = tiny("llama")
    over_logits = torch.zeros(47)
    over_logits[7] = 1.0
    derivatives = model.differentiate(IDS, rule_set("gradient"))
    relevance, _ = derivatives.relevance(over_logits)
    nodes = Nodes(np.array([0, 2, 2]), np.array([4, 4, 4]), np.array([1, 0, 5]))
    effects, inflow = derivatives.direct_effects(nodes, over_logits[None])
    assert effects.shape == (4, 5 + 3)
    torch.testing.assert_close(effects[3, 6:], relevance[2, 4, [0, 5]], rtol=1e-4, atol=1e-6)
    assert abs(float(effects[3, 5] - relevance[0, 4, 1])) > 1e-4
    assert inflow.shape == (4,)


def test_a_number_that_is_not_finite_is_named_with_layer_and_place(model) -> None:
    recording = model.record([IDS])[0]
    assert first_non_finite(recording) is None
    recording.layers[1].activation[3, 7] = float("nan")
    recording.layers[2].activation[0, 0] = float("inf")
    assert (
        first_non_finite(recording) == "a number is not finite: MLP activation of layer 1, position 3, neuron 7 is nan"
    )


def test_bfloat16_runs_and_stays_near_float32(model_folder) -> None:
    exact, rough = (load_model(str(model_folder), device="cpu", dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert rough.spec.dtype == "bfloat16"
    assert rough.spec.revision == exact.spec.revision
    ids = rough.encode(Prompt(" w5 w6 w7"))
    assert np.abs(rough.logits(ids) - exact.logits(ids)).max() < 0.1
    assert rough.record([ids])[0].layers[0].activation.dtype == torch.float32
