"""Protocol `patch_output`: one MLP's output at one position of a corrupt prompt becomes what it was in the clean one.

Measured: the goal with that patch minus the goal without. Predicted, from one pass over the corrupt prompt:
Σ_n (a_clean - a_corrupt) · g_corrupt over the cell's neurons. Cells (layer, position) whose activations do not differ are
left out: nothing is patched there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from neuron_atlas.core.attribution.faithfulness.cases import Run
from neuron_atlas.core.attribution.faithfulness.correlations_over_prompts import EffectComparison
from neuron_atlas.core.attribution.faithfulness.interventions import InterventionModel, Replacement, goals_under

if TYPE_CHECKING:
    from torch import Tensor

SAME = 1e-4
"""Activations that differ by less than this share of the largest difference count as equal (rounding)."""


def patch_outputs(
    model: InterventionModel, clean: Run, corrupt: Run, corrupt_gradients: Mapping[str, Tensor]
) -> EffectComparison | None:
    """Patch every cell of one pair, one at a time; None where the two runs do not differ."""
    difference = clean.activation - corrupt.activation
    cells = _differing(difference)
    if not len(cells):
        return None
    rows: list[Replacement] = []
    for layer, position in cells:
        where = torch.zeros_like(difference, dtype=torch.bool)
        where[layer, position] = True
        rows.append(Replacement(where, clean.activation))
    goals = goals_under(model, corrupt.token_ids, corrupt.over_logits, [_nothing(difference), *rows])
    predicted = {
        method: _at(cells, (gradient * difference).sum(-1, dtype=torch.float64))
        for method, gradient in corrupt_gradients.items()
    }
    return EffectComparison(predicted, goals[1:] - goals[0])


def _differing(difference: Tensor) -> list[tuple[int, int]]:
    size = difference.abs().amax(-1)
    changed = size > SAME * size.max()
    layers, positions = np.nonzero(changed.cpu().numpy())
    return list(zip(layers.tolist(), positions.tolist(), strict=True))


def _nothing(like: Tensor) -> Replacement:
    return Replacement(torch.zeros_like(like, dtype=torch.bool))


def _at(cells: Sequence[tuple[int, int]], values: Tensor) -> NDArray[np.float64]:
    return np.array([float(values[cell]) for cell in cells])
