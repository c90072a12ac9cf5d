"""The derivative of a run's goal by every activation, under any rule set.

Frozen models give it by the sweep of `effects/relevance.py`, with every activation read as 1; the other rule sets by automatic
differentiation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from neuron_atlas.core.attribution.effects.relevance import relevance_to_goals
from neuron_atlas.core.attribution.linearisation.freeze import FrozenModel, freeze
from neuron_atlas.core.attribution.linearisation.goal import Goal, linearise_goal
from neuron_atlas.core.attribution.linearisation.rules import RuleSet

if TYPE_CHECKING:
    from torch import Tensor

    from neuron_atlas.core.attribution.faithfulness.cases import Run
    from neuron_atlas.core.attribution.traceable_model import TraceableModel


def gradients(model: TraceableModel, runs: Sequence[Run], rules: RuleSet) -> list[Tensor]:
    """One [L, P, I] per run: d goal / d activation under the rule set."""
    if rules.is_linear:
        with torch.no_grad():
            return [_swept(model, run, rules) for run in runs]
    return [model.differentiate(run.token_ids, rules).gradient(run.over_logits) for run in runs]


def _swept(model: TraceableModel, run: Run, rules: RuleSet) -> Tensor:
    frozen = freeze(model.folded, run.recording, rules)
    goal = Goal("direction", (-1,), ("goal",), (1.0,), direction=run.over_logits)
    vector = linearise_goal(model.folded, frozen, goal, centre=False).goal_vector
    return relevance_to_goals(model.folded, [_at_one(frozen)], [vector[None]])[0].neurons[0]


def _at_one(frozen: FrozenModel) -> FrozenModel:
    """The same frozen model with every activation 1: relevance is then the derivative."""
    layers = tuple(replace(layer, activation=torch.ones_like(layer.activation)) for layer in frozen.layers)
    return replace(frozen, layers=layers)
