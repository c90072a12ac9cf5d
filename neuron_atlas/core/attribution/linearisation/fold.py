"""Norms folded into the matrices beside them, once per model.

A norm is N(x)[p] = s[p] · w ∘ (P x[p]) + b, with s the only part that depends on the prompt; P is the identity for
RMSNorm and subtracts the mean for LayerNorm. So a matrix W that reads a norm becomes W diag(w) P with bias c + W b, and a
matrix whose output passes a norm becomes diag(w) P W; s stays outside, one number per position. What the sweeps touch
afterwards are plain matrices.

Shapes: D width, H heads, K key/value heads, G = H/K, d head width, I neurons, V vocabulary. Heads of the output projection
are reordered from (K, G) to (G, K): the sweeps then mix positions without a copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

Activation: TypeAlias = Literal["silu", "gelu", "gelu_tanh", "relu"]
"""Activation functions f with a known factor f(x) / x."""


@dataclass(frozen=True)
class Norm:
    """A norm as it stands: `weight` [D] (Gemma's 1 + w already added) and `bias` [D], None where there is none."""

    weight: Tensor | None
    bias: Tensor | None
    is_centred: bool
    eps: float

    def scale(self, x: Tensor) -> Tensor:
        """The frozen factor s: [..., D] to [...], float32."""
        x = x.float()
        if self.is_centred:
            return torch.rsqrt(x.var(-1, correction=0) + self.eps)
        return torch.rsqrt(x.square().mean(-1) + self.eps)


@dataclass(frozen=True)
class LayerWeights:
    """One layer as it stands; every matrix is [outputs, inputs], a norm or bias is None where there is none.

    `value` [K·d, D], `out` [D, H·d] with heads in the model's order, `gate` (None for a plain MLP) and `up` [I, D],
    `down` [D, I].
    """

    before_attention: Norm | None
    after_attention: Norm | None
    before_mlp: Norm | None
    after_mlp: Norm | None
    value: Tensor
    value_bias: Tensor | None
    out: Tensor
    out_bias: Tensor | None
    gate: Tensor | None
    gate_bias: Tensor | None
    up: Tensor
    up_bias: Tensor | None
    down: Tensor
    down_bias: Tensor | None


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """What is the same before and after folding. `activation` is silu, gelu, gelu_tanh or relu; `softcap` bounds the logits (None:
    unbounded)."""

    n_heads: int
    n_kv_heads: int
    activation: Activation
    softcap: float | None


@dataclass(frozen=True, kw_only=True)
class ModelWeights(Decoder):
    """A decoder as it stands. `unembedding` [V, D] reads the normed residual stream."""

    layers: Sequence[LayerWeights]
    final_norm: Norm
    unembedding: Tensor
    unembedding_bias: Tensor | None


@dataclass(frozen=True)
class FoldedLayer:
    """One layer, folded, float32. `out` [D, H·d] has its heads in the order (G, K); `decoder` [I, D] holds one row per
    neuron: the direction it writes. Biases are the constants that stay beside the folded matrices:

    attention writes s_out · out·(mixed values + row sums · value_bias) + s_out · out_bias + out_after,
    the MLP writes s_down · decoderᵀ·a + s_down · down_bias + down_after.
    """

    value: Tensor
    value_bias: Tensor | None
    out: Tensor
    out_bias: Tensor | None
    out_after: Tensor | None
    gate: Tensor | None
    gate_bias: Tensor | None
    up: Tensor
    up_bias: Tensor | None
    decoder: Tensor
    down_bias: Tensor | None
    down_after: Tensor | None


@dataclass(frozen=True, kw_only=True)
class FoldedModel(Decoder):
    """The whole model, folded. `unembedding` [V, D] reads the final residual stream times the final norm's scale."""

    layers: tuple[FoldedLayer, ...]
    unembedding: Tensor
    unembedding_bias: Tensor | None

    @property
    def width(self) -> int:
        """D."""
        return self.unembedding.shape[1]

    @property
    def n_neurons(self) -> int:
        """I."""
        return self.layers[0].up.shape[0]


def fold(weights: ModelWeights) -> FoldedModel:
    """Fold every norm of a model. The result owns float32 copies where folding changes a matrix and shares the model's
    own memory where it does not."""
    with torch.no_grad():
        layers = tuple(_fold_layer(layer, weights.n_heads, weights.n_kv_heads) for layer in weights.layers)
        unembedding, bias = _fold_before(weights.final_norm, weights.unembedding, weights.unembedding_bias)
    return FoldedModel(
        layers=layers,
        unembedding=unembedding,
        unembedding_bias=bias,
        n_heads=weights.n_heads,
        n_kv_heads=weights.n_kv_heads,
        activation=weights.activation,
        softcap=weights.softcap,
    )


def _fold_layer(layer: LayerWeights, n_heads: int, n_kv_heads: int) -> FoldedLayer:
    value, value_bias = _fold_before(layer.before_attention, layer.value, layer.value_bias)
    out, out_bias, out_after = _fold_after(layer.after_attention, layer.out, layer.out_bias)
    width, groups = out.shape[0], n_heads // n_kv_heads
    out = out.view(width, n_kv_heads, groups, -1).transpose(1, 2).reshape(width, -1)
    gate, gate_bias = None, None
    if layer.gate is not None:
        gate, gate_bias = _fold_before(layer.before_mlp, layer.gate, layer.gate_bias)
    up, up_bias = _fold_before(layer.before_mlp, layer.up, layer.up_bias)
    down, down_bias, down_after = _fold_after(layer.after_mlp, layer.down, layer.down_bias)
    return FoldedLayer(
        value, value_bias, out.contiguous(), out_bias, out_after,
        gate, gate_bias, up, up_bias, down.T.contiguous(), down_bias, down_after,
    )  # fmt: skip


def _fold_before(norm: Norm | None, matrix: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """W diag(w) P and c + W b of a matrix that reads a norm."""
    matrix = matrix.detach().float()
    bias = None if bias is None else bias.detach().float()
    if norm is None:
        return matrix.contiguous(), bias
    if norm.bias is not None:
        shift = matrix @ norm.bias.detach().float()
        bias = shift if bias is None else bias + shift
    if norm.weight is not None:
        matrix = matrix * norm.weight.detach().float()
    if norm.is_centred:
        matrix = matrix - matrix.mean(1, keepdim=True)
    return matrix.contiguous(), bias


def _fold_after(norm: Norm | None, matrix: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """diag(w) P W, w ∘ (P c) and b of a matrix whose output passes a norm."""
    matrix = matrix.detach().float()
    bias = None if bias is None else bias.detach().float()
    if norm is None:
        return matrix, bias, None
    if norm.is_centred:
        matrix = matrix - matrix.mean(0, keepdim=True)
        bias = None if bias is None else bias - bias.mean()
    if norm.weight is not None:
        weight = norm.weight.detach().float()
        matrix = matrix * weight[:, None]
        bias = None if bias is None else bias * weight
    return matrix, bias, None if norm.bias is None else norm.bias.detach().float()
