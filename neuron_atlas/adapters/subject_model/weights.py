"""Weights as numpy arrays, as they stand in the model: float32, norms not folded into the matrices."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from neuron_atlas.adapters.subject_model.families.parts import NormPart, Parts
from neuron_atlas.core.ports import Array, MlpWeights, VocabWeights


def mlp_weights(parts: Parts, layer: int) -> MlpWeights:
    """One layer's MLP and the norm before it."""
    part = parts.layers[layer]
    norm, up = part.before_mlp, float32_array(part.up.weight)
    return MlpWeights(
        layer=layer,
        gate=None if part.gate is None else float32_array(part.gate.weight),
        up=up,
        down=float32_array(part.down.weight),
        bias_gate=None if part.gate is None else _optional(part.gate.bias),
        bias_up=_optional(part.up.bias),
        norm=None if norm is None else _norm_weight(norm, width=up.shape[1]),
        norm_bias=None if norm is None else _optional(norm.weights.bias),
        norm_kind="none" if norm is None else "layer" if norm.weights.is_centred else "rms",
        norm_eps=0.0 if norm is None else norm.weights.eps,
        act=parts.activation,
        post_norm=None if part.after_mlp is None else _norm_weight(part.after_mlp, width=up.shape[1]),
    )


def vocab_weights(parts: Parts) -> VocabWeights:
    """Embedding [V, D], unembedding [V, D] and the final norm."""
    final, unembedding = parts.final_norm, float32_array(parts.unembedding)
    return VocabWeights(
        embedding=float32_array(parts.embedding()),
        unembedding=unembedding,
        final_norm=_norm_weight(final, width=unembedding.shape[1]),
        final_norm_kind="layer" if final.weights.is_centred else "rms",
    )


def float32_array(value: Tensor) -> Array:
    """A tensor of any dtype and device as a contiguous float32 array."""
    return value.detach().float().cpu().contiguous().numpy()


def _optional(value: Tensor | None) -> Array | None:
    return None if value is None else float32_array(value)


def _norm_weight(norm: NormPart, *, width: int) -> Array:
    weight = norm.weights.weight
    return np.ones(width, np.float32) if weight is None else float32_array(weight)
