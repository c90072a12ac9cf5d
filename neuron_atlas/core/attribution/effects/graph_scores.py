"""Which edges a graph keeps, how much of it they explain, and how exactly.

Conservation: what flows into a target from all embeddings, all neurons and the constants is its value, and the relevance of
embeddings and constants is the goal. The sum over selected sources comes from the sweeps (`direct_effects.py`), the sum over all
neurons from the replay, so `error` (everything not kept) is their exact difference; where such a sum is not met, the numbers are
at fault by so much, and that is reported as `conservation_error`.

Influence: |weights| of a target, its bias and its error are normalised to 1; a unit of influence, shared among the traced
logits by |weight · logit|, is passed down along kept edges. What ends in an error term is not explained. Two numbers per graph:

    replacement    embeddings / (embeddings + errors), by the influence that ends there
    completeness   influence-weighted mean over targets of 1 - error share

A target's error share counts |net inflow of unselected neurons| and every |edge below the threshold|.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuron_atlas.core.statistics import cumulative_share

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SMALLEST_SHARE = 2.0**-10
"""A value smaller than this share of the flows it is the sum of cannot be told more exactly in float32; violations are then
measured against the flows."""


@dataclass(frozen=True)
class Inflow:
    """What reaches every target [N + k]: `effects` [N + k, P + N] from selected sources, `neurons` from all neurons together,
    `bias` from constants; `values` is what it should sum to."""

    effects: Tensor
    neurons: Tensor
    bias: Tensor
    values: Tensor
    n_embeddings: int


@dataclass(frozen=True)
class KeptEdges:
    """Kept edges, sorted by (target, source): three arrays [M]; sources and targets index columns and rows of the effects."""

    targets: Ints
    sources: Ints
    weights: NDArray[np.float32]


@dataclass(frozen=True)
class GraphScores:
    """Of one graph: its edges, `error` [N + k] (what they leave out), `rank` [P + N] (the share of all influence that a source and
    the more influential ones hold)."""

    edges: KeptEdges
    error: Floats
    rank: Floats
    completeness: float
    replacement: float
    conservation_error: float
    kept_edge_share: float


def score_graph(inflow: Inflow, *, goal_shares: Floats, layers: Ints, edge_tau: float) -> GraphScores:
    """Choose the edges of a graph and score it.

    `goal_shares` [k] are the logits' shares of the goal (not negative, sum 1); `layers` [N + k] the targets' layers,
    ascending. An edge is kept when |weight| >= edge_tau · |value of its target| and is not 0.
    """
    values, bias = _double(inflow.values), _double(inflow.bias)
    edges = kept_edges(inflow.effects, inflow.values, edge_tau)
    size = np.abs(edges.weights).astype(np.float64)
    kept = np.bincount(edges.targets, edges.weights, minlength=len(values))
    kept_size = np.bincount(edges.targets, size, minlength=len(values))
    from_all = _double(inflow.effects.sum(1))
    from_embeddings = _double(inflow.effects[:, : inflow.n_embeddings].sum(1))
    all_size = _double(inflow.effects.abs().sum(1))
    whole = from_embeddings + _double(inflow.neurons)
    lost = np.abs(whole - from_all) + np.maximum(all_size - kept_size, 0.0)
    total = np.maximum(kept_size + np.abs(bias) + lost, np.finfo(np.float64).tiny)
    shares = size / total[edges.targets]
    n_sources = inflow.effects.shape[1]
    influence = _influence_of_sources(
        edges, shares, goal_shares, layers, n_sources=n_sources, n_embeddings=inflow.n_embeddings
    )
    at_targets = np.concatenate([influence[inflow.n_embeddings :], goal_shares])
    error_share = lost / total
    to_embeddings, to_errors = float(influence[: inflow.n_embeddings].sum()), float(at_targets @ error_share)
    return GraphScores(
        edges=edges,
        error=whole - kept,
        rank=cumulative_share(influence),
        completeness=_ratio(float(at_targets @ (1.0 - error_share)), float(at_targets.sum())),
        replacement=_ratio(to_embeddings, to_embeddings + to_errors),
        conservation_error=relative_violation(whole + bias, values, all_size),
        kept_edge_share=min(1.0, _ratio(float(kept_size.sum()), float(all_size.sum()))),
    )


def relative_violation(sums: Floats, values: Floats, flows: Floats) -> float:
    """Largest |sum - value| relative to |value|, or to a thousandth of the |flows| that make it up where that is more."""
    scale = np.maximum(np.abs(values), SMALLEST_SHARE * flows)
    return float((np.abs(sums - values) / np.maximum(scale, np.finfo(np.float64).tiny)).max(initial=0.0))


def kept_edges(effects: Tensor, values: Tensor, edge_tau: float) -> KeptEdges:
    """The edges of effects [N + k, P + N] whose |weight| is at least `edge_tau` of |value| of their target, and not 0."""
    least = (edge_tau * values.abs()).clamp_(min=torch.finfo(torch.float32).tiny)
    is_kept = (effects.abs() >= least[:, None]).cpu().numpy()
    places = np.flatnonzero(is_kept)
    targets = np.repeat(np.arange(len(least)), np.count_nonzero(is_kept, axis=1))
    sources = places - targets * is_kept.shape[1]
    return KeptEdges(targets, sources, effects.cpu().numpy().ravel()[places])


def _influence_of_sources(
    edges: KeptEdges, shares: Floats, goal_shares: Floats, layers: Ints, *, n_sources: int, n_embeddings: int
) -> Floats:
    """Influence [P + N] of all sources: from the logits down, every layer's targets hand theirs on by their edges' shares."""
    influence = np.zeros(n_sources)
    n_neurons = len(layers) - len(goal_shares)
    at_targets = np.concatenate([np.zeros(n_neurons), goal_shares])
    for layer in sorted(set(layers.tolist()), reverse=True):
        first, last = np.searchsorted(layers, [layer, layer + 1])
        at_targets[first : min(last, n_neurons)] = influence[n_embeddings + first : n_embeddings + min(last, n_neurons)]
        start, stop = np.searchsorted(edges.targets, [first, last])
        handed = at_targets[edges.targets[start:stop]] * shares[start:stop]
        influence += np.bincount(edges.sources[start:stop], handed, minlength=n_sources)
    return influence


def _double(value: Tensor) -> Floats:
    return value.double().cpu().numpy()


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0
