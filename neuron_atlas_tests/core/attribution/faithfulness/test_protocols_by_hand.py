"""Every protocol on the model that can be followed on paper (conftest.py): in a linear model the gradient predicts exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neuron_atlas.core.attribution.faithfulness import interventions
from neuron_atlas.core.attribution.faithfulness.ablation import ablate_nodes, keep_top, largest
from neuron_atlas.core.attribution.faithfulness.circuits import (
    circuit_curves,
    circuit_scores,
    mean_activations,
    split,
)
from neuron_atlas.core.attribution.faithfulness.edges import direct_changes
from neuron_atlas.core.attribution.faithfulness.interventions import Replacement, goals_under
from neuron_atlas.core.attribution.faithfulness.patching import patch_outputs

WRONG = {"right": 1.0, "wrong": -1.0}


def at(layer: int, position: int, neuron: int) -> torch.Tensor:
    where = torch.zeros(2, 2, 3, dtype=torch.bool)
    where[layer, position, neuron] = True
    return where


def test_replacements_change_what_they_name_and_nothing_else(model) -> None:
    rows = [
        Replacement(torch.zeros(2, 2, 3, dtype=torch.bool)),  # nothing: 17
        Replacement(at(0, 1, 2)),  # neuron 2 of layer 0: 17 - 10, and layer 1's neuron 2 is not read
        Replacement(at(0, 0, 0)),  # 1 · 1 less
        Replacement(at(1, 1, 1), torch.full((2, 2, 3), 5.0)),  # 9 - 5 + 10
    ]
    assert goals_under(model, [1, 1], model.over_logits, rows).tolist() == [17.0, 7.0, 16.0, 14.0]


def test_batches_do_not_change_the_numbers(model, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [Replacement(at(layer, 1, neuron)) for layer in (0, 1) for neuron in range(3)]
    together = goals_under(model, [1, 1], model.over_logits, rows)
    monkeypatch.setattr(interventions, "CELLS_PER_PASS", 2 * 12)
    assert goals_under(model, [1, 1], model.over_logits, rows).tolist() == together.tolist()
    assert model.batches == [6, 2, 2, 2]
    assert goals_under(model, [1, 1], model.over_logits, []).tolist() == []


def test_patching_a_cell_gives_what_the_gradient_says(model) -> None:
    # corrupt: the first token 3 makes layer 0 at position 0 (3, 6, 0); layer 1 (6, 12, 0) and (11, 6, 2): 11 - 6 + 10 = 15
    clean, corrupt = model.run(1, 1), model.run(3, 1)
    assert corrupt.value == 15.0
    found = patch_outputs(model, clean, corrupt, {name: sign * model.gradient for name, sign in WRONG.items()})
    # cells (0, 0): all of the difference, 2; (1, 0): nothing reads it; (1, 1): (9, 2) for (11, 6) is 2. (0, 1) is the same in both
    assert found is not None
    assert found.measured.tolist() == [2.0, 0.0, 2.0]
    assert found.predicted["right"].tolist() == [2.0, 0.0, 2.0]
    assert found.predicted["wrong"].tolist() == [-2.0, 0.0, -2.0]


def test_equal_runs_leave_nothing_to_patch(model) -> None:
    assert patch_outputs(model, model.run(1, 1), model.run(1, 1), {"right": model.gradient}) is None


def test_single_ablations_are_exact_in_a_linear_model(model) -> None:
    clean = model.run(1, 1)
    found = ablate_nodes(
        model, clean, {"right": model.gradient * clean.activation}, counts={1: 20}, rng=np.random.default_rng(0)
    )
    assert list(found) == [1]
    assert len(found[1].measured) == 12
    # a · g: layer 0 1, -2, 0 and 8, 0, 10; layer 1 nothing at position 0, then 9, -2, 0
    assert sorted(found[1].measured.tolist()) == sorted([1.0, -2.0, 0, 8.0, 0, 10.0, 0, 0, 0, 9.0, -2.0, 0])
    assert found[1].predicted["right"].tolist() == pytest.approx(found[1].measured.tolist())


def test_subsets_have_one_size_and_too_large_ones_are_left_out(model) -> None:
    clean = model.run(1, 1)
    layer_0_only = model.gradient * clean.activation * torch.tensor([1.0, 0.0])[:, None, None]
    found = ablate_nodes(model, clean, {"m": layer_0_only}, counts={2: 6, 12: 6}, rng=np.random.default_rng(0))
    assert list(found) == [2]
    assert len(found[2].measured) == 6


def test_the_largest_come_first_and_ties_go_to_the_lower_index() -> None:
    assert largest(torch.tensor([[1.0, -3.0], [3.0, 0.0]]), 3).tolist() == [1, 2, 0]


def test_what_the_top_nodes_keep(model) -> None:
    # largest |a · g| is 10 (layer 0, position 1, neuron 2), which reaches the goal by itself; the next, 9, is layer 1's neuron 0,
    # which then reads layer 0 ablated: 0
    clean = model.run(1, 1)
    kept = keep_top(model, clean, {"m": model.gradient * clean.activation}, sizes=(1, 2, 12))
    assert kept.whole == 17.0
    assert kept.parts == {("m", 1): 10.0, ("m", 2): 10.0, ("m", 12): 17.0}


def test_a_circuit_is_found_on_training_prompts_and_tested_on_others(model) -> None:
    # corrupt runs have first tokens 0 and 2, so the mean of position 0 is that of the clean runs' token 1 and its score 0; what
    # differs between clean (token 4) and mean is 3 · (1, 2, 0) at position 0, scored 3, -6 in layer 0 and 3, -6 in layer 1
    cases = [model.case((4, 1), (0, 1)), model.case((4, 1), (2, 1)), model.case((1, 1), None)]
    training, tests = split(cases)
    assert (training, tests) == ([0], [1])
    means = mean_activations(cases)
    assert torch.equal(means["task", 2], model.run(1, 1).activation)
    scores = circuit_scores([cases[0]], [model.gradient], means)
    assert scores.tolist() == [[3.0, -6.0, 0.0], [3.0, -6.0, 0.0]]
    curves = circuit_curves(model, [cases[1]], {"m": scores}, means, sizes=(2, 6))
    # clean 12 - 8 + 10 = 14, all at their mean 17: whole -3. Top 2 are the neurons 1 of both layers: -6; without them +3
    assert curves.whole.tolist() == [-3.0]
    assert curves.circuit["m", 2].tolist() == [-6.0]
    assert curves.complement["m", 2].tolist() == [3.0]
    assert curves.circuit["m", 6].tolist() == [-3.0]
    assert curves.complement["m", 6].tolist() == [0.0]


def test_direct_effects_pass_no_other_layer(model) -> None:
    # source (0, 1, 0) = 4: layer 1 at position 1 loses 8 in neuron 0. No logit moves: layer 1 is held, and this neuron is not read
    # source (0, 1, 2) = 1: layer 1 loses 2 in neuron 2, and the third logit, which reads it directly, loses 1
    sources = (np.array([0, 0]), np.array([1, 1]), np.array([0, 2]))
    targets = (np.array([1, 1, 0]), np.array([1, 1, 1]), np.array([0, 2, 0]))
    on_neurons, on_logits = direct_changes(model, model.run(1, 1), sources, targets)
    assert on_neurons.tolist() == [[8.0, 0.0, 0.0], [0.0, 2.0, 0.0]]
    assert on_logits.tolist() == [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
