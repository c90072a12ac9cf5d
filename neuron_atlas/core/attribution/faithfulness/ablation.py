"""Protocols that set nodes (a neuron at a position) to 0: `ablate_subset`, `ablate_one` and `keep_top`.

Measured: by how much the goal falls; predicted: Σ a · g over what is ablated. Candidates are the union of every method's
`TOP` largest |a · g|, so that all methods are asked about the same ablations and a method that overrates a node pays for it.
A subset takes each candidate with probability 1/2: subsets differ in what they hold and hardly in how much.
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
from neuron_atlas.core.attribution.faithfulness.interventions import InterventionModel, Replacement, goals_under
from neuron_atlas.core.attribution.faithfulness.statistics import Comparison

if TYPE_CHECKING:
    from torch import Tensor

TOP = 32
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
    subsets: int,
    singles: int,
    rng: np.random.Generator,
) -> tuple[Comparison, Comparison]:
    """Joint ablations of random subsets, and ablations of single nodes. `relevances` [L, P, I] by method."""
    candidates = _candidates(relevances)
    picked = rng.random((subsets, len(candidates))) < 0.5
    alone = rng.permutation(len(candidates))[:singles]
    chosen = np.concatenate([picked, np.eye(len(candidates), dtype=bool)[alone]])
    rows = [_ablated(clean.activation, candidates[row]) for row in chosen]
    goals = goals_under(
        model, clean.token_ids, clean.over_logits, [_ablated(clean.activation, candidates[:0]), *rows]
    )
    measured = goals[0] - goals[1:]
    predicted = {
        method: chosen @ relevance.flatten()[torch.as_tensor(candidates)].double().numpy()
        for method, relevance in _on_cpu(relevances).items()
    }
    return (
        Comparison({method: values[:subsets] for method, values in predicted.items()}, measured[:subsets]),
        Comparison({method: values[subsets:] for method, values in predicted.items()}, measured[subsets:]),
    )


def keep_top(
    model: InterventionModel, clean: Run, relevances: Mapping[str, Tensor], *, sizes: tuple[int, ...]
) -> Kept:
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
