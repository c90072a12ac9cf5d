"""Derivatives of the model as it is, by automatic differentiation of its own forward pass.

For rule sets that are not linear this is the way; for linear ones it is the slow, independent check that tests compare the
sweep with. Hooks give every part its rule and leave all values as they are:

    norm          y = w ∘ Px · stop(s) + b when scales are frozen
    attention     what makes the pattern (query and key projections) is stopped when patterns are frozen
    MLP product   half: ½ stop(c u) g + ½ stop(c g) u; frozen: stop(c g) u; live: as it is
    MLP output    for direct effects the down projection reads a fresh leaf, so no path crosses an MLP
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from neuron_atlas.adapters.subject_model.families.parts import LayerParts, NormPart, Parts
from neuron_atlas.core.attribution.linearisation.fold import Activation
from neuron_atlas.core.attribution.linearisation.freeze import activation_factor
from neuron_atlas.core.attribution.linearisation.rules import RuleSet
from neuron_atlas.core.attribution.select_nodes import Nodes

TARGETS_AT_ONCE = 32
"""Targets differentiated in one batched call."""


@dataclass
class DifferentiablePass:
    """One forward pass of one prompt with its graph: the leaf `embedded` [1, P, D]; per layer the activations [1, P, I] as the
    layers above read them (`sources`) and as they depend on what is below (`targets`); the last position's logits [V]."""

    embedded: Tensor | None = None
    targets: list[Tensor] = field(default_factory=list[Tensor])
    sources: list[Tensor] = field(default_factory=list[Tensor])


class AutogradDerivatives:
    """Derivatives of one prompt under one rule set. `logits_of()` runs the model and returns its last logits [V]."""

    def __init__(self, parts: Parts, rules: RuleSet, logits_of: Callable[[], Tensor]) -> None:
        self._parts, self._rules, self._logits_of = parts, rules, logits_of

    def relevance(self, over_logits: Tensor) -> tuple[Tensor, Tensor]:
        """Relevance to over_logits [V] · logits: of neurons [L, P, I] and embeddings [P], through everything."""
        gradients, leaves = self._differentiated(over_logits)
        neurons = torch.cat([gradient * value for gradient, value in zip(gradients[:-1], leaves[:-1], strict=True)])
        return neurons.detach().float(), (gradients[-1] * leaves[-1]).sum(-1)[0].detach().float()

    def gradient(self, over_logits: Tensor) -> Tensor:
        """Derivative of over_logits [V] · logits by every activation, [L, P, I]: relevance is this times the activation."""
        return torch.cat(self._differentiated(over_logits)[0][:-1]).detach().float()

    def _differentiated(self, over_logits: Tensor) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        """Derivatives by every layer's activations [1, P, I], then the embeddings [1, P, D]; and those values."""
        with torch.enable_grad(), differentiable_pass(self._parts, self._rules, is_cut=False) as run:
            goal = over_logits @ self._logits_of()
            leaves = [*run.sources, _required(run.embedded)]
            return torch.autograd.grad(goal, leaves, materialize_grads=True), leaves

    def direct_effects(self, nodes: Nodes, over_logits: Tensor) -> tuple[Tensor, Tensor]:
        """Direct effects [N + k, P + N] between nodes and on over_logits [k, V] · logits; inflow [N + k] from all neurons."""
        n_nodes, n_layers = len(nodes), len(self._parts.layers)
        with torch.enable_grad(), differentiable_pass(self._parts, self._rules, is_cut=True) as run:
            logits = self._logits_of()
            embedded = _required(run.embedded)
            effects = logits.new_zeros(n_nodes + len(over_logits), embedded.shape[1] + n_nodes, dtype=torch.float32)
            inflow = effects.new_zeros(len(effects))
            for layer in range(n_layers + 1):
                start, stop = (int(edge) for edge in np.searchsorted(nodes.layers, [layer, layer + 1]))
                if layer < n_layers:
                    values = run.targets[layer][0][nodes.positions[start:stop], nodes.neurons[start:stop]]
                else:
                    start, values = n_nodes, over_logits @ logits
                leaves = [embedded, *run.sources[:layer]]
                for first in range(0, len(values), TARGETS_AT_ONCE):
                    part = values[first : first + TARGETS_AT_ONCE]
                    rows = slice(start + first, start + first + len(part))
                    inflow[rows] = self._fill(effects[rows], part, leaves, nodes)
        return effects.detach(), inflow.detach()

    def _fill(self, effects: Tensor, values: Tensor, leaves: Sequence[Tensor], nodes: Nodes) -> Tensor:
        """Effects [C, P + N] of the leaves (embeddings, then the layers below) on C values, in place; returns the whole inflow
        from neurons [C]."""
        one_each = torch.eye(len(values), device=values.device, dtype=values.dtype)
        gradients = torch.autograd.grad(
            values, leaves, one_each, retain_graph=True, is_grads_batched=True, materialize_grads=True
        )
        length, inflow = leaves[0].shape[1], effects.new_zeros(len(values))
        effects[:, :length] = torch.einsum("cpd,pd->cp", gradients[0][:, 0].float(), leaves[0][0].detach().float())
        for layer, (gradient, leaf) in enumerate(zip(gradients[1:], leaves[1:], strict=True)):
            parts = (gradient[:, 0] * leaf[0]).detach().float()
            first, last = (int(edge) for edge in np.searchsorted(nodes.layers, [layer, layer + 1]))
            chosen = parts[:, nodes.positions[first:last], nodes.neurons[first:last]]
            effects[:, length + first : length + last] = chosen
            inflow += parts.flatten(1).sum(1)
        return inflow


@contextmanager
def differentiable_pass(parts: Parts, rules: RuleSet, *, is_cut: bool) -> Generator[DifferentiablePass]:
    """Hooks for the pass that runs inside. `is_cut` makes what each MLP writes a leaf of its own."""
    run = DifferentiablePass()

    def embed(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        run.embedded = inputs[0].detach().requires_grad_()
        return (run.embedded, *inputs[1:])

    handles = [parts.layers[0].block.register_forward_pre_hook(embed)]
    for layer in parts.layers:
        handles.extend(_hook_mlp(layer, parts.activation, rules, run, is_cut=is_cut))
        if rules.is_attention_frozen:
            handles.extend(_stop_gradient(module, columns) for module, columns in layer.pattern_inputs)
        if rules.are_norms_frozen:
            norms = (layer.before_attention, layer.after_attention, layer.before_mlp, layer.after_mlp)
            handles.extend(_freeze_norm(norm) for norm in norms if norm is not None)
    if rules.are_norms_frozen:
        handles.append(_freeze_norm(parts.final_norm))
    try:
        yield run
    finally:
        for handle in handles:
            handle.remove()


def _hook_mlp(
    layer: LayerParts, activation: Activation, rules: RuleSet, run: DifferentiablePass, *, is_cut: bool
) -> list[RemovableHandle]:
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        return lambda _module, _inputs, output: seen.__setitem__(name, output)

    def read(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        target = _linearised(inputs[0], seen.get("gate"), seen["up"], activation, rules)
        source = target.detach().requires_grad_() if is_cut else target
        run.targets.append(target)
        run.sources.append(source)
        return (source, *inputs[1:])

    handles = [layer.up.module.register_forward_hook(keep("up")), layer.down.module.register_forward_pre_hook(read)]
    if layer.gate is not None:
        handles.append(layer.gate.module.register_forward_hook(keep("gate")))
    return handles


def _linearised(live: Tensor, gate: Tensor | None, up: Tensor, activation: Activation, rules: RuleSet) -> Tensor:
    """The activation with the value it has and the derivative the rule gives it."""
    if rules.gate == "live":
        return live
    if gate is None:
        return activation_factor(activation, up).detach() * up
    factor = activation_factor(activation, gate).detach()
    if rules.gate == "frozen":
        return (factor * gate).detach() * up
    return 0.5 * ((factor * up).detach() * gate + (factor * gate).detach() * up)


def _freeze_norm(norm: NormPart) -> RemovableHandle:
    def replace(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        weights = norm.weights
        x = inputs[0].float()
        y = (x - x.mean(-1, keepdim=True) if weights.is_centred else x) * weights.scale(x).detach()[..., None]
        y = y if weights.weight is None else y * weights.weight.float()
        y = y if weights.bias is None else y + weights.bias.float()
        return y.to(output.dtype)

    return norm.module.register_forward_hook(replace)


def _stop_gradient(module: nn.Module, columns: int | None) -> RemovableHandle:
    def stop(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        if columns is None:
            return output.detach()
        return torch.cat([output[..., :columns].detach(), output[..., columns:]], -1)

    return module.register_forward_hook(stop)


def _required(value: Tensor | None) -> Tensor:
    if value is None:
        raise RuntimeError("the pass did not reach the first layer")
    return value
