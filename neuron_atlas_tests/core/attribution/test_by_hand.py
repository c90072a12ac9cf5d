"""Two layers, four neurons, two positions, one head of width 1: every number can be followed on paper.

Attention copies coordinate 0 of where it looks into coordinate 1; position 1 looks at both positions with 1/2.
MLPs are plain with factor 1. Layer 0: n0 reads (1, 0) and writes (0, 1); n1 reads (0, 1) and writes (1, 0).
Layer 1: n0 reads (1, 1) and writes (1, 0); n1 reads (1, -1) and writes (0, 1). The one logit reads (1, 1).

    position            0              1
    embedding          (1, 0)         (0, 1)
    after attention 0  (1, 1)         (0, 3/2)        copies 1; 1/2 · 1 + 1/2 · 0
    neurons 0          1, 1           0, 3/2
    after MLP 0        (2, 2)         (3/2, 3/2)
    after attention 1  (2, 4)         (3/2, 13/4)     copies 2; 1/2 · 2 + 1/2 · 3/2
    neurons 1          6, -2          19/4, -7/4
    after MLP 1                       (25/4, 3/2)     logit 31/4
"""

import numpy as np
import pytest
import torch

from neuron_atlas.core.attribution.effects.direct_effects import direct_effects, node_vectors
from neuron_atlas.core.attribution.effects.relevance import relevance_to_goals
from neuron_atlas.core.attribution.effects.total_effects import total_effects
from neuron_atlas.core.attribution.linearisation.fold import FoldedLayer, FoldedModel
from neuron_atlas.core.attribution.linearisation.freeze import FrozenLayer, FrozenModel
from neuron_atlas.core.attribution.linearisation.replay import replay
from neuron_atlas.core.attribution.select_nodes import Nodes

LOGIT = torch.tensor([[1.0, 1.0]])
# Nodes by (layer, position, neuron), those with value 0 or without a way to the logit left out.
NODES = Nodes(np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 0, 1]))


def layer(up: list[list[float]], decoder: list[list[float]]) -> FoldedLayer:
    value, out = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0], [1.0]])
    return FoldedLayer(
        value,
        None,
        out,
        None,
        None,
        None,
        None,
        torch.tensor(up).float(),
        None,
        torch.tensor(decoder).float(),
        None,
        None,
    )


@pytest.fixture
def model() -> FoldedModel:
    layers = (layer([[1, 0], [0, 1]], [[0, 1], [1, 0]]), layer([[1, 1], [1, -1]], [[1, 0], [0, 1]]))
    return FoldedModel(
        layers=layers,
        unembedding=LOGIT,
        unembedding_bias=None,
        n_heads=1,
        n_kv_heads=1,
        activation="relu",
        softcap=None,
    )


@pytest.fixture
def frozen() -> FrozenModel:
    mix = torch.tensor([[[[1.0, 0.0], [0.5, 0.5]]]])
    one = torch.ones(2, 2)
    first = torch.tensor([[1.0, 1.0], [0.0, 1.5]])
    second = torch.tensor([[6.0, -2.0], [4.75, -1.75]])
    layers = (
        FrozenLayer(mix, None, one, first, None, None, None, None, first.flip(1)),
        FrozenLayer(mix, None, one, second, None, None, None, None, second),
    )
    return FrozenModel((0, 1), torch.eye(2), layers, torch.tensor(1.0), torch.tensor([7.75]), None)


def test_the_frozen_model_replays_the_forward_pass(model: FoldedModel, frozen: FrozenModel) -> None:
    streams = replay(model, frozen)
    assert streams.before_mlp[1].sum(0).tolist() == [[2, 4], [1.5, 3.25]]
    assert streams.final.sum(0)[1].tolist() == [6.25, 1.5]


def test_direct_effects_are_those_on_paper(model: FoldedModel, frozen: FrozenModel) -> None:
    effects = direct_effects(model, frozen, node_vectors(model, frozen, NODES, LOGIT))
    expected = [
        # e0   e1   00@0 01@0 01@1  10@1   11@1
        [1, 0, 0, 0, 0, 0, 0],  # L0/N0 at 0 = 1: the embedding's coordinate 0
        [1, 0, 0, 0, 0, 0, 0],  # L0/N1 at 0 = 1: the copy of it
        [0.5, 1, 0, 0, 0, 0, 0],  # L0/N1 at 1 = 3/2
        [1, 1, 0, 0.5, 2.25, 0, 0],  # L1/N0 at 1 = 19/4: e0 = 1/2 + 1/2, e1 = 1, n1@0 = 1/2, n1@1 = 3/2 + 3/4
        [-1, -1, 0, -0.5, 0.75, 0, 0],  # L1/N1 at 1 = -7/4
        [1, 1, 0, 0.5, 2.25, 4.75, -1.75],  # the logit = 31/4
    ]
    assert effects.tolist() == expected


def test_what_flows_in_is_the_value(model: FoldedModel, frozen: FrozenModel) -> None:
    effects = direct_effects(model, frozen, node_vectors(model, frozen, NODES, LOGIT))
    assert effects.sum(1).tolist() == [1, 1, 1.5, 4.75, -1.75, 7.75]


def test_relevance_is_the_direct_effect_plus_what_flows_through_later_neurons(
    model: FoldedModel, frozen: FrozenModel
) -> None:
    (scores,) = relevance_to_goals(model, [frozen], [LOGIT])
    # L0/N1 at 1: 9/4 directly, 9/4 through L1/N0 (derivative 1), 3/4 through L1/N1 (derivative 1).
    assert scores.neurons[0, 0, 1, 1].item() == 5.25
    assert scores.neurons[0, 1, 1].tolist() == [4.75, -1.75]
    assert scores.neurons[0, 1, 0].tolist() == [0, 0]  # nothing looks at position 0 any more
    assert (scores.embeddings.sum() + scores.bias).item() == 7.75


def test_total_effects_on_the_logit_are_the_relevances(model: FoldedModel, frozen: FrozenModel) -> None:
    effects = total_effects(model, frozen, NODES, node_vectors(model, frozen, NODES, LOGIT))
    (scores,) = relevance_to_goals(model, [frozen], [LOGIT])
    relevance = scores.neurons[0][NODES.layers, NODES.positions, NODES.neurons]
    assert effects[-1].tolist() == [*scores.embeddings[0].tolist(), *relevance.tolist()]
    assert effects[3].tolist()[:2] == [2.25, 2.5]  # L1/N0 at 1, embeddings with the paths through layer 0's neurons
