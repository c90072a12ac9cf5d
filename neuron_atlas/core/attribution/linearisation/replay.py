"""The frozen model run once more, with embeddings, neurons and constants kept apart; and how frozen attention carries vectors.

The residual stream is a sum of what the embeddings, the neurons and the constants put there. Carrying the three apart
through the frozen attention gives, for every target, the exact inflow from *all* neurons and from the constants: what the
selected nodes leave out is then a difference, not an estimate. Added up, the three are the model itself, which tests use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from neuron_atlas.core.attribution.linearisation.fold import FoldedModel
from neuron_atlas.core.attribution.linearisation.freeze import FrozenModel

Part: TypeAlias = Literal["embeddings", "neurons", "constants"]
PARTS: tuple[Part, ...] = ("embeddings", "neurons", "constants")


@dataclass(frozen=True)
class Replay:
    """The stream in parts: `before_mlp` [L, n, P, D] after every layer's attention, `final` [n, P, D] after the last layer,
    with one row for each of `parts`."""

    parts: tuple[Part, ...]
    before_mlp: Tensor
    final: Tensor


def replay(model: FoldedModel, frozen: FrozenModel, *, parts: tuple[Part, ...] = PARTS) -> Replay:
    """Run the frozen model with its sources kept apart."""
    rows = frozen.embedded.new_zeros(len(parts), *frozen.embedded.shape)
    at: dict[Part, Tensor] = {part: rows[index] for index, part in enumerate(parts)}
    if "embeddings" in at:
        at["embeddings"] += frozen.embedded
    before_mlp = rows.new_empty(len(model.layers), *rows.shape)
    for index, (weights, layer) in enumerate(zip(model.layers, frozen.layers, strict=True)):
        attend_up(rows, weights.value, weights.out, layer.mix)
        if "constants" in at and layer.attention_constant is not None:
            at["constants"] += layer.attention_constant
        before_mlp[index] = rows
        if "neurons" in at:
            at["neurons"] += layer.neurons_written
        if "constants" in at and layer.mlp_constant is not None:
            at["constants"] += layer.mlp_constant
    return Replay(parts, before_mlp, rows)


def has_constants(frozen: FrozenModel) -> bool:
    """Whether the frozen model adds anything to the stream that is neither embedding nor neuron."""
    return any(layer.attention_constant is not None or layer.mlp_constant is not None for layer in frozen.layers)


def attend_up(rows: Tensor, value: Tensor, out: Tensor, mix: Tensor) -> None:
    """Add to every row what frozen attention makes of it, in place.

    rows [n, w, D] over w positions, contiguous; mix [G, K, w, w] as (to, from). One product projects all cells to values,
    kept as [K, d·n, w] so that positions are the inner axis: mixing is then a batched product and needs no copy.
    """
    cells = rows.view(-1, rows.shape[-1])
    groups, heads, width, _ = mix.shape
    if width == 1:
        cells.addmm_(torch.mm(cells, value.T), _out_of_one_position(out, mix).T)
        return
    values = torch.mm(value, cells.T).view(heads, -1, width)
    mixed = values.new_empty(groups, *values.shape)
    for group in range(groups):
        torch.bmm(values, mix[group].transpose(1, 2), out=mixed[group])
    cells.addmm_(mixed.view(-1, cells.shape[0]).T, out.T)


def attend_down(rows: Tensor, value: Tensor, out: Tensor, mix: Tensor) -> None:
    """The transpose of `attend_up`: what a row of derivatives is before the attention, in place. Shapes as there."""
    cells = rows.view(-1, rows.shape[-1])
    groups, heads, width, _ = mix.shape
    if width == 1:
        cells.addmm_(torch.mm(cells, _out_of_one_position(out, mix)), value)
        return
    read = torch.mm(out.T, cells.T).view(groups, heads, -1, width)
    values = torch.bmm(read[0], mix[0])
    for group in range(1, groups):
        values.baddbmm_(read[group], mix[group])
    cells.addmm_(values.view(-1, cells.shape[0]).T, value)


def _out_of_one_position(out: Tensor, mix: Tensor) -> Tensor:
    """With one position nothing is mixed: the pattern [G, K, 1, 1] only scales heads, and heads of one key/value head add up.
    The output matrix [D, K·d] that does both."""
    groups, heads = mix.shape[:2]
    return torch.einsum("wgkd,gk->wkd", out.view(out.shape[0], groups, heads, -1), mix[:, :, 0, 0]).flatten(1)
