"""Protocols that set nodes (a neuron at a position) to 0: `ablate_subset`, `ablate_one` and `keep_top`.

Measured: by how much the goal falls; predicted: Σ a · g over what is ablated. Candidates are the union of every method's
`TOP` largest |a · g|, so that all methods are asked about the same ablations and a method that overrates a node pays for it.
Subsets of one size n are compared with each other: they differ in what they hold and not in how much. Size matters: a true
derivative is made for small changes, a rule that conserves the goal for large ones.
`keep_top` ablates everything else: the share (m(top n) - m(none)) / (m(all) - m(none)) says how much of the goal n nodes carry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from neuron_atlas.core.attribution.faithfulness.cases import Run
from neuron_atlas.core.attribution.faithfulness.correlations_over_prompts import EffectComparison
from neuron_atlas.core.attribution.faithfulness.interventions import InterventionModel, Replacement, goals_under

if TYPE_CHECKING:
    from torch import Tensor

TOP = 64
"""Nodes that each method brings to the candidates."""


@dataclass(frozen=True, slots=True)
class Kept:
    """`parts[method, n]`: the goal with its top n nodes alone, less the goal with none; `whole`: with all, less with none."""

    parts: Mapping[tuple[str, int], float]
    whole: float


def ablate_nodes(
    model: InterventionModel,
    clean: Run,
    relevances: Mapping[str, Tensor],
    *,
    counts: Mapping[int, int],
    rng: np.random.Generator,
) -> dict[int, EffectComparison]:
    """For each size n, `counts[n]` joint ablations of n random candidates. `relevances` [L, P, I] by method.

    Single nodes (n = 1) are drawn without repeats; a size that is not below the number of candidates is left out.
    """
    candidates = _candidates(relevances)
    drawn = {n: _draw(len(candidates), n, count, rng) for n, count in counts.items() if n < len(candidates)}
    chosen = np.concatenate([np.zeros((1, len(candidates)), dtype=bool), *drawn.values()])
    rows = [_ablated(clean.activation, candidates[row]) for row in chosen]
    goals = goals_under(model, clean.token_ids, clean.over_logits, rows)
    at = {
        method: relevance.flatten()[torch.as_tensor(candidates)].double().numpy()
        for method, relevance in _on_cpu(relevances).items()
    }
    found: dict[int, EffectComparison] = {}
    start = 1
    for n, picked in drawn.items():
        fall = goals[0] - goals[start : start + len(picked)]
        found[n] = EffectComparison({method: picked.astype(np.float64) @ values for method, values in at.items()}, fall)
        start += len(picked)
    return found


def keep_top(model: InterventionModel, clean: Run, relevances: Mapping[str, Tensor], *, sizes: tuple[int, ...]) -> Kept:
    """Ablate all but each method's n nodes of largest |relevance|."""
    keys = [(method, n) for method in relevances for n in sizes]
    rows = [_all_but(relevances[method], n) for method, n in keys]
    nothing, everything = torch.zeros_like(rows[0].where), torch.ones_like(rows[0].where)
    goals = goals_under(
        model, clean.token_ids, clean.over_logits, [Replacement(nothing), Replacement(everything), *rows]
    )
    parts = {key: float(goal - goals[1]) for key, goal in zip(keys, goals[2:], strict=True)}
    return Kept(parts, float(goals[0] - goals[1]))


def _candidates(relevances: Mapping[str, Tensor]) -> NDArray[np.int64]:
    tops = [largest(relevance, TOP) for relevance in _on_cpu(relevances).values()]
    return np.unique(np.concatenate(tops))


def _draw(size: int, n: int, count: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Random subsets [count, size] of n of `size` candidates each; of single ones every candidate at most once."""
    if n == 1:
        return np.eye(size, dtype=bool)[rng.permutation(size)[:count]]
    return rng.permuted(np.tile(np.arange(size) < n, (count, 1)), axis=1)


def largest(values: Tensor, count: int) -> NDArray[np.int64]:
    """Flat indices of the largest |values|, largest first; ties go to the lower index."""
    size = values.abs().flatten().cpu()
    order = torch.sort(size, descending=True, stable=True).indices
    return order[:count].numpy().astype(np.int64)


def _ablated(like: Tensor, nodes: NDArray[np.int64]) -> Replacement:
    where = torch.zeros_like(like, dtype=torch.bool)
    where.view(-1)[torch.as_tensor(nodes, device=like.device)] = True
    return Replacement(where)


def _all_but(relevance: Tensor, n: int) -> Replacement:
    where = torch.ones_like(relevance, dtype=torch.bool)
    where.view(-1)[torch.as_tensor(largest(relevance, n), device=relevance.device)] = False
    return Replacement(where)


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.cpu() for name, tensor in tensors.items()}
