"""The frozen model run once more, with its sources kept apart.

The residual stream is a sum of what the embeddings, the neurons and the constants put there. Carrying the three apart
through the frozen attention gives, for every target, the exact inflow from *all* neurons and from the constants: what the
selected nodes leave out is then a difference, not an estimate. Added up, the three are the model itself, which tests use.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neuron_atlas.core.attribution.fold import FoldedModel
from neuron_atlas.core.attribution.record import Frozen

EMBEDDINGS, NEURONS, CONSTANTS = 0, 1, 2


@dataclass(frozen=True)
class Replay:
    """The stream in three parts (embeddings, neurons, constants): `before_mlp` is [L, 3, P, D] after every layer's attention,
    `final` [3, P, D] after the last layer."""

    before_mlp: Tensor
    final: Tensor


def replay(model: FoldedModel, frozen: Frozen) -> Replay:
    """Run the frozen prompt with its sources apart."""
    parts = torch.zeros(3, *frozen.embedded.shape, dtype=frozen.embedded.dtype, device=frozen.embedded.device)
    parts[EMBEDDINGS] = frozen.embedded
    before_mlp = parts.new_empty(len(model.layers), *parts.shape)
    for index, (weights, layer) in enumerate(zip(model.layers, frozen.layers, strict=True)):
        attend_up(parts, weights.value, weights.out, layer.mix)
        if layer.attention_constant is not None:
            parts[CONSTANTS] += layer.attention_constant
        before_mlp[index] = parts
        parts[NEURONS] += layer.neurons_written
        if layer.mlp_constant is not None:
            parts[CONSTANTS] += layer.mlp_constant
    return Replay(before_mlp, parts)


def attend_up(rows: Tensor, value: Tensor, out: Tensor, mix: Tensor) -> None:
    """Add to every row what frozen attention makes of it, in place.

    rows [n, w, D] over w positions, contiguous; mix [G, K, w, w] as (to, from). One product projects all cells to values,
    kept as [K, d·n, w] so that positions are the inner axis: mixing is then a batched product and needs no copy.
    """
    cells = rows.view(-1, rows.shape[-1])
    groups, heads, width, _ = mix.shape
    values = torch.mm(value, cells.T).view(heads, -1, width)
    mixed = values.new_empty(groups, *values.shape)
    for group in range(groups):
        torch.bmm(values, mix[group].transpose(1, 2), out=mixed[group])
    cells.addmm_(mixed.view(-1, cells.shape[0]).T, out.T)


def attend_down(rows: Tensor, value: Tensor, out: Tensor, mix: Tensor) -> None:
    """The transpose of `attend_up`: what a row of derivatives is before the attention, in place. Shapes as there."""
    cells = rows.view(-1, rows.shape[-1])
    groups, heads, width, _ = mix.shape
    read = torch.mm(out.T, cells.T).view(groups, heads, -1, width)
    values = torch.bmm(read[0], mix[0])
    for group in range(1, groups):
        values.baddbmm_(read[group], mix[group])
    cells.addmm_(values.view(-1, cells.shape[0]).T, value)
