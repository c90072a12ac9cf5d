"""Relevance of every neuron to a goal: one sweep down the frozen model, through its MLPs.

A goal is a vector g on the final residual stream at the traced position. Its derivative C[p] is carried down: at a layer,
d = C · decoder is the goal's derivative by every activation, so relevance is d ∘ a; then d goes on through gate and up
projection, and C through the attention. What reaches the bottom is the embeddings' relevance; what met a constant is the
bias. The three sum to the goal: Σ embeddings + bias = goal.

Several prompts go down together (padded to the longest; a padded position stays zero), because for a few rows the time is
spent reading weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from neuron_atlas.core.attribution.linearisation.fold import FoldedLayer, FoldedModel
from neuron_atlas.core.attribution.linearisation.freeze import FrozenLayer, FrozenModel


@dataclass(frozen=True)
class SourceRelevance:
    """Relevance of one prompt's sources to k goals: `neurons` [k, L, P, I], `embeddings` [k, P], and of all constants together,
    `bias` [k]."""

    neurons: Tensor
    embeddings: Tensor
    bias: Tensor


def relevance_to_goals(
    model: FoldedModel, frozen: Sequence[FrozenModel], goals: Sequence[Tensor]
) -> list[SourceRelevance]:
    """Relevances of all neurons and embeddings of each prompt to each of its goals.

    `goals[b]` [k, D] are vectors on prompt b's final residual stream at its last position, the same k for all prompts.
    """
    count, length = goals[0].shape[0], max(prompt.length for prompt in frozen)
    rows = goals[0].new_zeros(len(frozen), count, length, model.width)
    for prompt, (run, goal) in enumerate(zip(frozen, goals, strict=True)):
        rows[prompt, :, run.length - 1] = goal
    scores = goals[0].new_zeros(len(frozen), count, len(model.layers), length, model.n_neurons)
    bias = goals[0].new_zeros(len(frozen), count)
    for index in reversed(range(len(model.layers))):
        layers = [run.layers[index] for run in frozen]
        if index == len(model.layers) - 1:  # only the traced position is non-zero yet
            for prompt, run in enumerate(frozen):
                last = slice(run.length - 1, run.length)
                top = rows[prompt : prompt + 1, :, last].contiguous()
                frame = [_positions(layers[prompt], last)]
                scores[prompt, :, index, last] = _down_through_mlp(
                    model.layers[index], frame, top, bias[prompt : prompt + 1]
                )[0]
                rows[prompt, :, last] = top[0]
        else:
            scores[:, :, index] = _down_through_mlp(model.layers[index], layers, rows, bias)
        _down_through_attention(model.layers[index], layers, rows, bias)
    embedded = _stack([run.embedded for run in frozen], length)
    reached = torch.einsum("bkpd,bpd->bkp", rows, embedded)
    return [
        SourceRelevance(scores[prompt, :, :, : run.length], reached[prompt, :, : run.length], bias[prompt])
        for prompt, run in enumerate(frozen)
    ]


def _down_through_mlp(weights: FoldedLayer, layers: Sequence[FrozenLayer], rows: Tensor, bias: Tensor) -> Tensor:
    """Carry rows [B, k, P, D] through the MLP, in place; returns the relevance of its neurons [B, k, P, I]."""
    length = rows.shape[2]
    _add_constants(bias, rows, [layer.mlp_constant for layer in layers], length)
    derivative = rows @ weights.decoder.T
    if layers[0].write_scale is not None:
        derivative *= _stack([_not_none(layer.write_scale)[:, None] for layer in layers], length)[:, None]
    _add_constants(bias, derivative, [layer.neuron_bias for layer in layers], length)
    cells = rows.view(-1, rows.shape[-1])
    up = derivative * _stack([layer.up_factor for layer in layers], length)[:, None]
    cells.addmm_(up.flatten(0, 2), weights.up)
    if weights.gate is not None and layers[0].gate_factor is not None:
        gate = derivative * _stack([_not_none(layer.gate_factor) for layer in layers], length)[:, None]
        cells.addmm_(gate.flatten(0, 2), weights.gate)
    return derivative.mul_(_stack([layer.activation for layer in layers], length)[:, None])


def _down_through_attention(weights: FoldedLayer, layers: Sequence[FrozenLayer], rows: Tensor, bias: Tensor) -> None:
    """Carry rows [B, k, P, D] through the attention, in place."""
    prompts, count, length, width = rows.shape
    _add_constants(bias, rows, [layer.attention_constant for layer in layers], length)
    mix = layers[0].mix[None]
    if prompts > 1:
        mix = mix.new_zeros(prompts, *mix.shape[1:3], length, length)
        for prompt, layer in enumerate(layers):
            inner = layer.mix.shape[-1]
            mix[prompt, :, :, :inner, :inner] = layer.mix
    groups, heads = mix.shape[1:3]
    read = (rows.view(-1, width) @ weights.out).view(prompts, count, length, groups, heads, -1)
    values = torch.einsum("bnpgkd,bgkpq->bnqkd", read, mix)
    rows.view(-1, width).addmm_(values.reshape(prompts * count * length, -1), weights.value)


def _add_constants(bias: Tensor, rows: Tensor, constants: Sequence[Tensor | None], length: int) -> None:
    """Add the product of rows [B, k, P, X] with constants [P, X] to bias [B, k], in place."""
    if constants[0] is not None:
        bias += torch.einsum("bkpx,bpx->bk", rows, _stack([_not_none(constant) for constant in constants], length))


def _stack(values: Sequence[Tensor], length: int) -> Tensor:
    """[B, P, X] of several [P_b, X], zero beyond each one's length."""
    if len(values) == 1:
        return values[0][None]
    stacked = values[0].new_zeros(len(values), length, *values[0].shape[1:])
    for prompt, value in enumerate(values):
        stacked[prompt, : value.shape[0]] = value
    return stacked


def _positions(layer: FrozenLayer, where: slice) -> FrozenLayer:
    """The MLP part of a frozen layer at some positions."""

    def part(value: Tensor | None) -> Tensor | None:
        return None if value is None else value[where]

    return FrozenLayer(
        layer.mix, part(layer.gate_factor), layer.up_factor[where], layer.activation[where], part(layer.write_scale),
        part(layer.neuron_bias), part(layer.attention_constant), part(layer.mlp_constant), layer.neurons_written[where],
    )  # fmt: skip


def _not_none(value: Tensor | None) -> Tensor:
    """A factor that either all prompts of a model have or none. Raises ValueError where it is missing."""
    if value is None:
        raise ValueError("a layer's factors must be given for all prompts or for none")
    return value
