"""Circuits of neurons for a whole task: how few carry it, and whether anything is left without them.

A neuron's score is the mean over training prompts of Σ_p (a_clean - a_mean) · g at its positions; a circuit of size n holds the n
neurons of largest |score|, at every position. The mean a_mean is over the family's corrupt runs, position by position: it
keeps what a prompt's form brings and forgets which answer it asks for. On the other prompts, in the model as it is,

    faithfulness  (F(C) - F(empty)) / (F(M) - F(empty))       F(C): all neurons outside C at their mean; F(empty): all neurons
    completeness  (F(M without C) - F(empty)) / (F(M) - F(empty))      F(M without C): the circuit's neurons at their mean

with F a mean over prompts of the goal. 1 and 0 are ideal. Circuits of neurons drawn at random say what chance gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from neuron_atlas.core.attribution.faithfulness.ablation import largest
from neuron_atlas.core.attribution.faithfulness.cases import Case
from neuron_atlas.core.attribution.faithfulness.interventions import InterventionModel, Replacement, goals_under

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float64]
Key = tuple[str, int]
"""A method and a circuit's size."""


@dataclass(frozen=True)
class Curves:
    """On each test prompt, less the goal of the empty circuit: the goal of each circuit, of the model without it, and of the whole
    model, [prompts] each."""

    circuit: Mapping[Key, Floats]
    complement: Mapping[Key, Floats]
    whole: Floats


def split(cases: Sequence[Case]) -> tuple[list[int], list[int]]:
    """Indices of the cases that have a partner, dealt in turn to training and test."""
    paired = [index for index, case in enumerate(cases) if case.corrupt is not None]
    return paired[::2], paired[1::2]


def mean_activations(cases: Sequence[Case]) -> dict[tuple[str, int], Tensor]:
    """Of every family, the mean activation [L, P, I] of its corrupt runs."""
    runs: dict[tuple[str, int], list[Tensor]] = {}
    for case in cases:
        if case.corrupt is not None:
            runs.setdefault(case.family, []).append(case.corrupt.activation)
    return {family: torch.stack(activations).mean(0) for family, activations in runs.items()}


def circuit_scores(
    cases: Sequence[Case], gradients: Sequence[Tensor], means: Mapping[tuple[str, int], Tensor]
) -> Tensor:
    """Scores [L, I] of all neurons from training cases and their clean gradients."""
    total = torch.zeros_like(gradients[0][:, 0], dtype=torch.float64)
    for case, gradient in zip(cases, gradients, strict=True):
        total += ((case.clean.activation - means[case.family]) * gradient).sum(1, dtype=torch.float64)
    return total / len(cases)


def circuit_curves(
    model: InterventionModel,
    tests: Sequence[Case],
    scores: Mapping[str, Tensor],
    means: Mapping[tuple[str, int], Tensor],
    *,
    sizes: Sequence[int],
) -> Curves:
    """Run every method's circuit of every size, and the model without it, on every test prompt. `scores` [L, I] by method."""
    keys = [(method, n) for method in scores for n in sizes]
    members = [_members(scores[method], n) for method, n in keys]
    goals = np.stack([_goals(model, case, members, means[case.family]) for case in tests])
    above = goals[:, 1:] - goals[:, :1]
    return Curves(
        {key: above[:, 1 + 2 * index] for index, key in enumerate(keys)},
        {key: above[:, 2 + 2 * index] for index, key in enumerate(keys)},
        above[:, 0],
    )


def _members(score: Tensor, n: int) -> Tensor:
    inside = torch.zeros_like(score, dtype=torch.bool)
    inside.view(-1)[torch.as_tensor(largest(score, n), device=score.device)] = True
    return inside


def _goals(model: InterventionModel, case: Case, members: Sequence[Tensor], mean: Tensor) -> Floats:
    """The goal of the empty circuit, of the whole model, then of every circuit and of the model without it."""
    everywhere = torch.ones_like(mean, dtype=torch.bool)
    rows = [Replacement(everywhere, mean), Replacement(~everywhere, mean)]
    for inside in members:
        at_all_positions = inside[:, None].expand_as(mean)
        rows += [Replacement(~at_all_positions, mean), Replacement(at_all_positions, mean)]
    return goals_under(model, case.clean.token_ids, case.clean.over_logits, rows)
