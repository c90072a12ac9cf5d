"""The real model run with activations replaced: many changes of one prompt in a few batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from neuron_atlas.core.attribution.traceable_model import TraceableModel

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float64]

CELLS_PER_PASS = 2**25
"""Activations (rows · layers · positions · neurons) that are replaced in one pass at most."""
TOKENS_PER_PASS = 4096
"""Tokens of one pass at most."""


class InterventionModel(TraceableModel, Protocol):
    """A model that can be traced and changed while it runs."""

    def intervene(self, token_ids: Sequence[Sequence[int]], change: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Logits [B, V] at the last tokens of sequences of one length, while every layer's activations [B, T, I] are replaced
        by `change(layer, activations)`."""
        ...


@dataclass(frozen=True)
class Replacement:
    """One run: activations `where` [L, P, I] (bool) become `value` [L, P, I], or 0 without one."""

    where: Tensor
    value: Tensor | None = None


def goals_under(
    model: InterventionModel, token_ids: Sequence[int], over_logits: Tensor, replacements: Sequence[Replacement]
) -> Floats:
    """The goal over_logits [V] · logits at the last token, once for each replacement, in order."""
    if not replacements:
        return np.zeros(0)
    step = min(CELLS_PER_PASS // replacements[0].where.numel(), TOKENS_PER_PASS // len(token_ids))
    found: list[Tensor] = []
    for start in range(0, len(replacements), max(1, step)):
        rows = replacements[start : start + max(1, step)]
        logits = model.intervene([token_ids] * len(rows), _replacing(rows))
        found.append((logits @ over_logits).double())
    return torch.cat(found).cpu().numpy()


def _replacing(rows: Sequence[Replacement]) -> Callable[[int, Tensor], Tensor]:
    where = torch.stack([row.where for row in rows], 1)  # [L, B, P, I]
    values = [row.value if row.value is not None else rows[0].where.new_zeros(()) for row in rows]

    def change(layer: int, activation: Tensor) -> Tensor:
        of_layer = [value[layer] if value.dim() else value.expand(activation.shape[1:]) for value in values]
        return torch.where(where[layer], torch.stack(of_layer).to(activation.dtype), activation)

    return change
