"""Edges, error, influence, completeness and replacement, on a graph worked by hand.

One embedding e, two neurons a (layer 0) and b (layer 1), one logit z; every value has bias 0.

    a = 2:   from e 2
    b = 4:   from e 1, from a 1, from unselected neurons 2
    z = 10:  from e 0.05 (below 1/100 of 10: dropped), from a 3, from b 6, from unselected neurons 0.95

Shares: z: |3| + |6| kept, lost 0.05 + 0.95 = 1, total 10: a 3/10, b 6/10, error 1/10.
        b: 1 + 1 kept, lost 2, total 4: e 1/4, a 1/4, error 1/2.     a: e 1.
Influence: b 6/10; a 3/10 + 6/10 · 1/4 = 9/20; e 9/20 + 6/10 · 1/4 = 12/20; errors 1/10 + 6/10 · 1/2 = 8/20.
Replacement 12 / (12 + 8) = 3/5. Completeness: targets z 1, b 6/10, a 9/20 with error shares 1/10, 1/2, 0:
1 - (1/10 + 3/10) / (41/20) = 33/41. Kept: 2 + 2 + 9 of 13.05.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuron_atlas.core.attribution.effects.graph_scores import Inflow, score_graph

LAYERS = np.array([0, 1, 2])
ONE = np.array([1.0])


@pytest.fixture
def inflow() -> Inflow:
    effects = torch.tensor([[2, 0, 0], [1, 1, 0], [0.05, 3, 6]])
    return Inflow(
        effects, torch.tensor([0.0, 3.0, 9.95]), torch.zeros(3), torch.tensor([2.0, 4.0, 10.0]), n_embeddings=1
    )


def test_the_hand_worked_graph(inflow: Inflow) -> None:
    scores = score_graph(inflow, goal_shares=ONE, layers=LAYERS, edge_tau=0.01)
    kept = list(
        zip(scores.edges.targets.tolist(), scores.edges.sources.tolist(), scores.edges.weights.tolist(), strict=True)
    )
    assert kept == [(0, 0, 2), (1, 0, 1), (1, 1, 1), (2, 1, 3), (2, 2, 6)]
    assert scores.error == pytest.approx([0, 2, 1])
    assert scores.replacement == pytest.approx(3 / 5)
    assert scores.completeness == pytest.approx(33 / 41)
    assert scores.kept_edge_share == pytest.approx(13 / 13.05)
    assert scores.conservation_error < 1e-6
    # e 12/20, b 12/20, a 9/20 of 33/20; of equals the first comes first
    assert scores.rank == pytest.approx([12 / 33, 1.0, 24 / 33])


def test_a_broken_sum_shows_as_conservation_error(inflow: Inflow) -> None:
    wrong = Inflow(inflow.effects, inflow.neurons, inflow.bias, torch.tensor([2.0, 5.0, 10.0]), 1)
    assert score_graph(wrong, goal_shares=ONE, layers=LAYERS, edge_tau=0.01).conservation_error == pytest.approx(1 / 5)


def test_bias_counts_as_inflow_but_neither_as_embedding_nor_as_error(inflow: Inflow) -> None:
    """b's unselected 2 become a constant 2: its error share is 0, the influence that ends in it is in no score."""
    known = Inflow(inflow.effects, torch.tensor([0.0, 1.0, 9.95]), torch.tensor([0.0, 2.0, 0.0]), inflow.values, 1)
    scores = score_graph(known, goal_shares=ONE, layers=LAYERS, edge_tau=0.01)
    assert scores.error == pytest.approx([0, 0, 1])
    assert scores.replacement == pytest.approx(0.6 / (0.6 + 0.1))
    assert scores.conservation_error < 1e-6


def test_nothing_is_kept_above_every_weight(inflow: Inflow) -> None:
    scores = score_graph(inflow, goal_shares=ONE, layers=LAYERS, edge_tau=10.0)
    assert len(scores.edges.weights) == 0
    assert (scores.replacement, scores.completeness, scores.kept_edge_share) == (0.0, 0.0, 0.0)
    assert scores.error == pytest.approx([2, 4, 10])


def test_a_graph_of_one_logit_and_no_neuron() -> None:
    inflow = Inflow(torch.tensor([[3.0, 1.0]]), torch.zeros(1), torch.zeros(1), torch.tensor([4.0]), n_embeddings=2)
    scores = score_graph(inflow, goal_shares=ONE, layers=np.array([1]), edge_tau=0.0)
    assert (scores.replacement, scores.completeness) == (1.0, 1.0)
    assert scores.rank == pytest.approx([0.75, 1.0])


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**20), edge_tau=st.floats(0, 1))
def test_kept_edges_error_and_bias_sum_to_the_inflow_and_scores_are_shares(seed: int, edge_tau: float) -> None:
    rng = np.random.default_rng(seed)
    n_embeddings, n_neurons, n_logits = 3, 6, 2
    layers = np.concatenate([np.sort(rng.integers(0, 3, n_neurons)), [3, 3]])
    effects = rng.normal(size=(n_neurons + n_logits, n_embeddings + n_neurons)).astype(np.float32)
    effects[:, n_embeddings:] *= layers[:, None] > layers[None, :n_neurons]
    unselected, bias = rng.normal(size=(2, n_neurons + n_logits))
    neurons = effects[:, n_embeddings:].sum(1) + unselected
    values = (effects[:, :n_embeddings].sum(1) + neurons + bias).astype(np.float32)
    inflow = Inflow(
        torch.from_numpy(effects), torch.from_numpy(neurons), torch.from_numpy(bias), torch.from_numpy(values), 3
    )
    scores = score_graph(inflow, goal_shares=np.array([0.25, 0.75]), layers=layers, edge_tau=edge_tau)
    kept = np.bincount(scores.edges.targets, scores.edges.weights, minlength=len(values))
    np.testing.assert_allclose(kept + scores.error + bias, values, rtol=1e-4, atol=1e-5)
    for share in (scores.completeness, scores.replacement, scores.kept_edge_share, *scores.rank):
        assert 0 <= share <= 1 + 1e-6
    order = list(zip(scores.edges.targets, scores.edges.sources, strict=True))
    assert order == sorted(order)
