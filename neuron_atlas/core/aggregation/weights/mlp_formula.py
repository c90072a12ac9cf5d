"""The MLP formula in numpy: the activations of a layer's neurons for given residual-stream vectors.

    gated    a = f(W_g x + b_g) * (W_u x + b_u)
    ungated  a = f(W_u x + b_u)

with x the normalised input. The subject model itself computes with torch; this is for what is computed from the weights alone.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from neuron_atlas.core.ports import Array, MlpWeights


def normalised(stream: Array, mlp: MlpWeights) -> Array:
    """The MLP's own input norm applied to residual-stream vectors [N, D] (unchanged for post-norm models)."""
    return scaled(stream, mlp.norm, mlp.norm_bias, kind=mlp.norm_kind, eps=mlp.norm_eps)


def scaled(
    stream: Array, weight: Array | None, bias: Array | None, *, kind: Literal["rms", "layer", "none"], eps: float
) -> Array:
    """RMSNorm or LayerNorm of the rows [N, D], in fp32."""
    if kind == "none":
        return stream
    centred = stream - stream.mean(axis=1, keepdims=True) if kind == "layer" else stream
    out = centred / np.sqrt((centred * centred).mean(axis=1, keepdims=True) + np.float32(eps))
    if weight is not None:
        out = out * weight
    return out if bias is None else out + bias


def responses(inputs: Array, mlp: MlpWeights) -> Array:
    """Activations [N, I] of a layer's neurons for normalised inputs [N, D]."""
    up = _linear(inputs, mlp.up, mlp.bias_up)
    if mlp.gate is None:
        return activation(up, mlp.act)
    return activation(_linear(inputs, mlp.gate, mlp.bias_gate), mlp.act) * up


def _linear(inputs: Array, weight: Array, bias: Array | None) -> Array:
    out = inputs @ weight.T
    return out if bias is None else out + bias


def activation(x: Array, name: Literal["silu", "gelu", "gelu_tanh", "relu"]) -> Array:
    """The activation function, fp32 in and out."""
    if name == "relu":
        return np.maximum(x, 0)
    if name == "silu":
        return x * _sigmoid(x)
    if name == "gelu_tanh":
        return 0.5 * x * (1 + np.tanh(np.float32(math.sqrt(2 / math.pi)) * (x + 0.044715 * x * x * x)))
    return 0.5 * x * (1 + _erf(x * np.float32(math.sqrt(0.5))))


def _sigmoid(x: Array) -> Array:
    return (0.5 * (1 + np.tanh(0.5 * x))).astype(np.float32)


def _erf(x: Array) -> Array:
    """Abramowitz & Stegun 7.1.26: absolute error below 1.5e-7, about the rounding of fp32."""
    size = np.abs(x)
    t = 1 / (1 + 0.3275911 * size)
    poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return (np.sign(x) * (1 - poly * np.exp(-size * size))).astype(np.float32)
