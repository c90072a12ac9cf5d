"""What one forward pass leaves behind, and the linear model frozen from it.

An adapter fills a `Recording`; `freeze` turns it into a `FrozenModel` under a rule set. A frozen layer does this to the residual
stream x (all positions p, q):

    x[p] += Σ_q mix[p,q] · out · value · x[q] + attention_constant[p]
    a[p]  = gate_factor[p] ∘ (gate x[p]) + up_factor[p] ∘ (up x[p]) + neuron_bias[p]      (equal to the recorded activation)
    x[p] += write_scale[p] · decoderᵀ a[p] + mlp_constant[p]

with the folded matrices of `fold.py` and logits unembedding · x[last] · final_scale · logit_ratio.
Shapes: P positions up to the traced one, D width, H = G·K heads, I neurons, V vocabulary. Everything is float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from neuron_atlas.core.attribution.linearisation.fold import Activation, FoldedLayer, FoldedModel
from neuron_atlas.core.attribution.linearisation.rules import RuleSet


@dataclass(frozen=True)
class LayerRecording:
    """One layer of one prompt: `pattern` [H, P, P] in the model's head order; `gate` (None for a plain MLP) and `up` [P, I]
    as the matrices gave them; `activation` [P, I] as the down projection read it; `written` [P, D] as the MLP added it to the
    stream. The scales [P] are those of the four norms, None where there is none."""

    pattern: Tensor
    gate: Tensor | None
    up: Tensor
    activation: Tensor
    written: Tensor
    scale_before_attention: Tensor | None
    scale_after_attention: Tensor | None
    scale_before_mlp: Tensor | None
    scale_after_mlp: Tensor | None


@dataclass(frozen=True)
class Recording:
    """One prompt up to its traced position: `embedded` [P, D] enters layer 0; `final_scale` is the final norm's at the last
    position; `logits` [V] there, with the head in float32, before (`raw_logits`) and after a soft cap."""

    token_ids: tuple[int, ...]
    embedded: Tensor
    layers: tuple[LayerRecording, ...]
    final_scale: Tensor
    raw_logits: Tensor
    logits: Tensor


@dataclass(frozen=True)
class FrozenLayer:
    """One frozen layer, by the formulas above. `mix` [G, K, P, P] holds the attention pattern times the scales of the norms
    around attention; a factor or constant is None where it is zero, a scale where it is one. `neurons_written` [P, D] is
    what the neurons alone added to the stream."""

    mix: Tensor
    gate_factor: Tensor | None
    up_factor: Tensor
    activation: Tensor
    write_scale: Tensor | None
    neuron_bias: Tensor | None
    attention_constant: Tensor | None
    mlp_constant: Tensor | None
    neurons_written: Tensor


@dataclass(frozen=True)
class FrozenModel:
    """The linear model of one prompt. `logit_ratio` [V] is soft-capped over raw logit, None without a cap."""

    token_ids: tuple[int, ...]
    embedded: Tensor
    layers: tuple[FrozenLayer, ...]
    final_scale: Tensor
    logits: Tensor
    logit_ratio: Tensor | None

    @property
    def length(self) -> int:
        """P."""
        return self.embedded.shape[0]


def activation_factor(name: Activation, x: Tensor) -> Tensor:
    """c = f(x) / x of an activation function, written without a division: finite at 0."""
    if name == "silu":
        return torch.sigmoid(x)
    if name == "gelu":
        return 0.5 * (1.0 + torch.erf(x * math.sqrt(0.5)))
    if name == "gelu_tanh":
        return 0.5 * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))
    return (x > 0).to(x.dtype)


def freeze(model: FoldedModel, recording: Recording, rules: RuleSet) -> FrozenModel:
    """The linear model of one prompt under a linear rule set."""
    if not rules.is_linear:
        raise ValueError(f"rule set {rules.identity} does not freeze the model")
    ratio = None
    if model.softcap is not None:
        raw = recording.raw_logits
        ratio = torch.where(raw == 0, torch.ones_like(raw), recording.logits / raw)
    layers = tuple(
        _freeze_layer(weights, layer, model, rules)
        for weights, layer in zip(model.layers, recording.layers, strict=True)
    )
    return FrozenModel(recording.token_ids, recording.embedded, layers, recording.final_scale, recording.logits, ratio)


def _freeze_layer(weights: FoldedLayer, layer: LayerRecording, model: FoldedModel, rules: RuleSet) -> FrozenLayer:
    length = layer.up.shape[0]
    pattern = layer.pattern.view(model.n_kv_heads, -1, length, length).transpose(0, 1)
    if layer.scale_after_attention is not None:
        pattern = pattern * layer.scale_after_attention[:, None]
    mix = pattern if layer.scale_before_attention is None else pattern * layer.scale_before_attention
    gate_factor, up_factor = _factors(model.activation, layer, rules)
    neuron_bias = _sum(_scaled(gate_factor, weights.gate_bias), _scaled(up_factor, weights.up_bias))
    if layer.scale_before_mlp is not None:
        gate_factor = None if gate_factor is None else gate_factor * layer.scale_before_mlp[:, None]
        up_factor = up_factor * layer.scale_before_mlp[:, None]
    mlp_constant = _constant(weights.down_bias, layer.scale_after_mlp, weights.down_after, length)
    return FrozenLayer(
        mix=mix.contiguous(),
        gate_factor=gate_factor,
        up_factor=up_factor,
        activation=layer.activation,
        write_scale=layer.scale_after_mlp,
        neuron_bias=neuron_bias,
        attention_constant=_attention_constant(weights, layer, pattern),
        mlp_constant=mlp_constant,
        neurons_written=layer.written if mlp_constant is None else layer.written - mlp_constant,
    )


def _factors(activation: Activation, layer: LayerRecording, rules: RuleSet) -> tuple[Tensor | None, Tensor]:
    """What multiplies the gate's and the up projection's output, [P, I] each, norm scale left out."""
    if layer.gate is None:
        return None, activation_factor(activation, layer.up)
    factor = activation_factor(activation, layer.gate)
    if rules.gate == "frozen":
        return None, factor * layer.gate
    factor = 0.5 * factor
    return factor * layer.up, factor * layer.gate


def _attention_constant(weights: FoldedLayer, layer: LayerRecording, pattern: Tensor) -> Tensor | None:
    """What attention adds to the stream whatever came before, [P, D]. `pattern` [G, K, P, P] is scaled by the post-norm."""
    through_values = None
    if weights.value_bias is not None:
        bias = weights.value_bias.view(1, pattern.shape[1], 1, -1)
        mixed = pattern.sum(-1)[..., None] * bias  # [G, K, P, d]
        through_values = mixed.permute(2, 0, 1, 3).flatten(1) @ weights.out.T
    return _sum(
        through_values,
        _constant(weights.out_bias, layer.scale_after_attention, weights.out_after, layer.up.shape[0]),
    )


def _constant(bias: Tensor | None, scale: Tensor | None, after: Tensor | None, length: int) -> Tensor | None:
    """scale · bias + after at every position, [P, D]."""
    rows = None if bias is None else bias.expand(length, -1)
    if rows is not None and scale is not None:
        rows = rows * scale[:, None]
    return _sum(rows, None if after is None else after.expand(length, -1))


def _scaled(factor: Tensor | None, bias: Tensor | None) -> Tensor | None:
    return None if factor is None or bias is None else factor * bias


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return a if b is None else b
    return a + b


def first_non_finite(recording: Recording) -> str | None:
    """Where a number first stops being finite, in the order of the forward pass; None when all are finite."""
    parts: list[tuple[str, tuple[str, ...], Tensor]] = [("embedding", ("position", "coordinate"), recording.embedded)]
    for index, layer in enumerate(recording.layers):
        parts.append((f"attention pattern of layer {index}", ("head", "position", "position"), layer.pattern))
        parts.append((f"MLP activation of layer {index}", ("position", "neuron"), layer.activation))
        parts.append((f"MLP output of layer {index}", ("position", "coordinate"), layer.written))
    parts.append(("logits", ("token",), recording.raw_logits))
    for name, axes, values in parts:
        is_bad = ~torch.isfinite(values)
        if is_bad.any():
            place = [int(index) for index in is_bad.nonzero()[0]]
            where = ", ".join(f"{axis} {index}" for axis, index in zip(axes, place, strict=True))
            return f"a number is not finite: {name}, {where} is {float(values[tuple(place)])}"
    return None
