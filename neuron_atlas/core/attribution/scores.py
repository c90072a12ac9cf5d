"""How much of a graph is explained, and how exactly.

Conservation: what flows into a target from all embeddings, all neurons and the constants is its value. The sum over selected
sources comes from the sweep, the sum over all neurons from the replay, so `error` (everything not kept) is their difference
and not a guess; a violation of the identity is a defect of the numbers and is reported as `conservation_error`.

Influence: |weights| of a target, its bias and its error are normalised to 1; a unit of influence, shared among the traced
logits by |weight · logit|, walks down kept edges. What ends in an error term is not explained. Two numbers per graph:

    replacement    embeddings / (embeddings + errors), by the influence that ends there
    completeness   influence-weighted mean over targets of 1 - error share

A target's error share counts |net inflow of unselected neurons| and every |edge below the threshold|.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


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
class Scores:
    """Of one graph: `kept` [N + k, P + N] marks its edges, `error` [N + k] is what they leave out, `influence` [P + N] the
    absolute influence of every source on the goal."""

    kept: Tensor
    error: Tensor
    influence: Tensor
    completeness: float
    replacement: float
    conservation_error: float
    kept_edge_share: float


def score_graph(inflow: Inflow, *, goal_shares: Tensor, layers: Tensor, edge_tau: float) -> Scores:
    """Choose the edges of a graph and score it.

    `goal_shares` [k] are the logits' shares of the goal (not negative, sum 1); `layers` [N + k] the targets' layers,
    ascending. An edge is kept when |weight| >= edge_tau · |value of its target| and is not 0.
    """
    effects, values = inflow.effects, inflow.values
    size = effects.abs()
    kept = (size >= edge_tau * values.abs()[:, None]) & (size > 0)
    kept_size = torch.where(kept, size, torch.zeros_like(size))
    all_sum = effects.sum(1, dtype=torch.float64)
    embedding_sum = effects[:, : inflow.n_embeddings].sum(1, dtype=torch.float64)
    kept_sum = torch.where(kept, effects, torch.zeros_like(effects)).sum(1, dtype=torch.float64)
    inflow_sum = embedding_sum + inflow.neurons
    unselected = inflow_sum - all_sum
    dropped_size = (size.sum(1, dtype=torch.float64) - kept_size.sum(1, dtype=torch.float64)).clamp_(min=0)
    lost = unselected.abs() + dropped_size
    total = (kept_size.sum(1, dtype=torch.float64) + inflow.bias.abs() + lost).clamp_(
        min=torch.finfo(torch.float64).tiny
    )
    shares = kept_size.div_(total[:, None].to(size.dtype))
    reach = _walk(shares, goal_shares, layers, inflow.n_embeddings)
    at_targets = torch.cat([reach[inflow.n_embeddings :], goal_shares]).double()
    error_share = lost / total
    from_embeddings, from_errors = float(reach[: inflow.n_embeddings].sum()), float(at_targets @ error_share)
    all_size = float(size.sum(dtype=torch.float64))
    return Scores(
        kept=kept,
        error=(inflow_sum - kept_sum).float(),
        influence=reach,
        completeness=_ratio(float(at_targets @ (1.0 - error_share)), float(at_targets.sum())),
        replacement=_ratio(from_embeddings, from_embeddings + from_errors),
        conservation_error=_violation(inflow_sum + inflow.bias, values),
        kept_edge_share=_ratio(
            float(torch.where(kept, size, torch.zeros_like(size)).sum(dtype=torch.float64)), all_size
        ),
    )


def cumulative_rank(influence: Tensor) -> Tensor:
    """Each source's place in the ranking by influence: the share of all influence that it and the larger ones hold, 0..1."""
    order = torch.argsort(influence, descending=True, stable=True)
    held = torch.cumsum(influence[order].double(), 0)
    ranked = torch.zeros_like(held)
    ranked[order] = held / held[-1] if len(held) and held[-1] > 0 else torch.ones_like(held)
    return ranked.clamp_(max=1.0).to(influence.dtype)


def _walk(shares: Tensor, goal_shares: Tensor, layers: Tensor, n_embeddings: int) -> Tensor:
    """Influence [P + N] of all sources: from the top layer down, every target hands its influence on by its shares."""
    reach = shares.new_zeros(shares.shape[1])
    n_neurons = shares.shape[0] - goal_shares.shape[0]
    reach += goal_shares.to(shares.dtype) @ shares[n_neurons:]
    for start, stop in _layer_blocks_from_top(layers[:n_neurons]):
        reach += reach[n_embeddings + start : n_embeddings + stop] @ shares[start:stop]
    return reach


def _layer_blocks_from_top(layers: Tensor) -> Iterator[tuple[int, int]]:
    stop = len(layers)
    for layer in sorted({int(layer) for layer in layers}, reverse=True):
        start = int(torch.searchsorted(layers, layer))
        yield start, stop
        stop = start


def _violation(inflow: Tensor, values: Tensor) -> float:
    """Largest |inflow - value| over targets, relative to |value|."""
    if not len(values):
        return 0.0
    wanted = values.double()
    return float(((inflow - wanted).abs() / wanted.abs().clamp(min=torch.finfo(torch.float32).tiny)).max())


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0
