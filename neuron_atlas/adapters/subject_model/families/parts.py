"""`Parts`: where in the Hugging Face module tree each part of a decoder is, and the small functions that find them.

A family is a function from a loaded model to `Parts`; recording, folding and direct effects follow from it. How to add one is in
`families/__init__.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor, nn

from neuron_atlas.core.attribution.linearisation.fold import Activation, LayerWeights, ModelWeights, Norm


@dataclass(frozen=True)
class NormPart:
    """A norm module and its weights."""

    module: nn.Module
    weights: Norm


@dataclass(frozen=True)
class Matrix:
    """A projection module, its weight as [outputs, inputs] and its bias."""

    module: nn.Module
    weight: Tensor
    bias: Tensor | None


@dataclass(frozen=True)
class LayerParts:
    """One decoder layer. `attention` returns (output, pattern [B, H, T, T]); `value` and `out` are weights only, because
    no hook is set on them; `gate` is None for a plain MLP, whose `up` then feeds the activation function. `pattern_inputs`
    are the modules whose outputs make the pattern, each with how many leading columns do (None: all)."""

    block: nn.Module
    attention: nn.Module
    pattern_inputs: tuple[tuple[nn.Module, int | None], ...]
    value: Tensor
    value_bias: Tensor | None
    out: Tensor
    out_bias: Tensor | None
    gate: Matrix | None
    up: Matrix
    down: Matrix
    before_attention: NormPart | None
    after_attention: NormPart | None
    before_mlp: NormPart | None
    after_mlp: NormPart | None


@dataclass(frozen=True)
class Parts:
    """A whole decoder. `embedding` [V, D] is what the tokens add to the input of layer 0, scale included; `unembedding`
    is the head's matrix."""

    layers: tuple[LayerParts, ...]
    final_norm: NormPart
    embedding: Callable[[], Tensor]
    unembedding: Tensor
    unembedding_bias: Tensor | None
    n_heads: int
    n_kv_heads: int
    activation: Activation
    softcap: float | None = None


Family: TypeAlias = Callable[[nn.Module], Parts]
"""From a loaded Hugging Face causal language model to its parts."""


def setting(model: nn.Module, *names: str) -> object:
    """The first of several settings that the model's config has and does not leave empty; None when there is none."""
    return next((value for name in names if (value := getattr(model.config, name, None)) is not None), None)


def count(model: nn.Module, name: str) -> int:
    """A setting that must be a number."""
    value = setting(model, name)
    if not isinstance(value, int):
        raise TypeError(f"the model's config has {name} = {value!r}, expected a number")
    return value


def child(module: nn.Module, path: str) -> nn.Module:
    """A submodule by its dotted path."""
    return module.get_submodule(path)


def parameter(module: nn.Module, name: str) -> Tensor:
    """A parameter that must be there."""
    value = getattr(module, name)
    if not isinstance(value, Tensor):
        raise TypeError(f"{type(module).__name__}.{name} is {type(value).__name__}, expected a tensor")
    return value


def optional_parameter(module: nn.Module, name: str) -> Tensor | None:
    """A parameter that may be missing (a bias)."""
    value = getattr(module, name, None)
    return value if isinstance(value, Tensor) else None


def linear(module: nn.Module, path: str) -> Matrix:
    """A `nn.Linear` below `module`."""
    part = child(module, path)
    return Matrix(part, parameter(part, "weight"), optional_parameter(part, "bias"))


def rms_norm(module: nn.Module, path: str, *, is_offset: bool = False) -> NormPart:
    """An RMSNorm below `module`; `is_offset` is Gemma's, which multiplies by 1 + w."""
    part = child(module, path)
    weight = parameter(part, "weight").detach()
    eps = getattr(part, "variance_epsilon", None) or getattr(part, "eps", None)
    if not isinstance(eps, float):
        raise TypeError(f"{type(part).__name__} has no epsilon under a known name")
    return NormPart(part, Norm(1.0 + weight.float() if is_offset else weight, None, is_centred=False, eps=eps))


def model_weights(parts: Parts) -> ModelWeights:
    """The weights alone, for folding."""
    layers = tuple(
        LayerWeights(
            before_attention=_norm(layer.before_attention),
            after_attention=_norm(layer.after_attention),
            before_mlp=_norm(layer.before_mlp),
            after_mlp=_norm(layer.after_mlp),
            value=layer.value,
            value_bias=layer.value_bias,
            out=layer.out,
            out_bias=layer.out_bias,
            gate=layer.gate.weight if layer.gate else None,
            gate_bias=layer.gate.bias if layer.gate else None,
            up=layer.up.weight,
            up_bias=layer.up.bias,
            down=layer.down.weight,
            down_bias=layer.down.bias,
        )
        for layer in parts.layers
    )
    return ModelWeights(
        layers=layers, final_norm=parts.final_norm.weights, unembedding=parts.unembedding,
        unembedding_bias=parts.unembedding_bias, n_heads=parts.n_heads, n_kv_heads=parts.n_kv_heads,
        activation=parts.activation, softcap=parts.softcap,
    )  # fmt: skip


def _norm(part: NormPart | None) -> Norm | None:
    return None if part is None else part.weights
