"""Frozen models made of plain tensors, consistent by construction, and the slow way to differentiate them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from neuron_atlas.core.attribution.linearisation.fold import FoldedLayer, FoldedModel
from neuron_atlas.core.attribution.linearisation.freeze import FrozenLayer, FrozenModel

torch.set_num_threads(1)


@dataclass(frozen=True)
class World:
    """A folded model and one prompt frozen on it."""

    model: FoldedModel
    frozen: FrozenModel

    @property
    def last_logits(self) -> Tensor:
        """Vectors of all logits on the final stream, [V, D]."""
        return self.model.unembedding * self.frozen.final_scale


def make_world(
    seed: int, *, layers=3, length=5, heads=4, kv_heads=2, width=12, head_width=3, neurons=10, plain=False
) -> World:
    """Random matrices, causal mixes, factors and constants; activations and logits are what the linear model gives."""
    g = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g) / shape[-1] ** 0.5

    folded = tuple(
        FoldedLayer(
            value=draw(kv_heads * head_width, width), value_bias=None,
            out=draw(width, heads * head_width), out_bias=None, out_after=None,
            gate=None if plain else draw(neurons, width), gate_bias=None, up=draw(neurons, width), up_bias=None,
            decoder=draw(neurons, width), down_bias=None, down_after=None,
        )
        for _ in range(layers)
    )  # fmt: skip
    model = FoldedModel(
        layers=folded, unembedding=draw(7, width), unembedding_bias=None,
        n_heads=heads, n_kv_heads=kv_heads, activation="silu", softcap=None,
    )  # fmt: skip
    stream = embedded = torch.randn(length, width, generator=g)
    frozen_layers: list[FrozenLayer] = []
    for weights in folded:
        mix = torch.rand(heads // kv_heads, kv_heads, length, length, generator=g).tril() / length
        attention_constant, mlp_constant = draw(length, width), draw(length, width)
        gate_factor = None if plain else torch.rand(length, neurons, generator=g)
        up_factor = torch.rand(length, neurons, generator=g)
        write_scale, bias = 0.5 + torch.rand(length, generator=g), 0.1 * torch.randn(length, neurons, generator=g)
        stream = attend(stream, weights, mix) + attention_constant
        activation = respond(stream, weights, gate_factor, up_factor) + bias
        written = write_scale[:, None] * (activation @ weights.decoder)
        stream = stream + written + mlp_constant
        frozen_layers.append(
            FrozenLayer(
                mix, gate_factor, up_factor, activation, write_scale, bias, attention_constant, mlp_constant, written
            )
        )
    scale = torch.tensor(0.7)
    logits = stream[-1] @ model.unembedding.T * scale
    return World(model, FrozenModel(tuple(range(length)), embedded, tuple(frozen_layers), scale, logits, None))


def attend(stream: Tensor, weights: FoldedLayer, mix: Tensor) -> Tensor:
    """x + attention(x) of [P, D], head by head, as the formula says."""
    groups, heads = mix.shape[:2]
    values = (stream @ weights.value.T).view(len(stream), heads, -1)
    heads_out = [mix[g, k] @ values[:, k] for g in range(groups) for k in range(heads)]
    return stream + torch.cat(heads_out, -1) @ weights.out.T


def respond(stream: Tensor, weights: FoldedLayer, gate_factor: Tensor | None, up_factor: Tensor) -> Tensor:
    """What a stream [P, D] puts into the neurons, bias left out."""
    response = up_factor * (stream @ weights.up.T)
    if gate_factor is not None and weights.gate is not None:
        response = response + gate_factor * (stream @ weights.gate.T)
    return response


def slow_effects(world: World, *, is_cut: bool) -> tuple[Tensor, Tensor]:
    """Effects of every embedding and neuron on every neuron and logit by automatic differentiation, one target at a time.

    Returns (on neurons [L·P·I, P + L·P·I], on logits [V, P + L·P·I]); `is_cut` makes every MLP's output a source of its own.
    """
    frozen, model = world.frozen, world.model
    embedded = frozen.embedded.clone().requires_grad_()
    stream, targets, sources = embedded, [], []
    for weights, layer in zip(model.layers, frozen.layers, strict=True):
        stream = attend(stream, weights, layer.mix) + layer.attention_constant
        target = respond(stream, weights, layer.gate_factor, layer.up_factor) + layer.neuron_bias
        source = target.detach().clone().requires_grad_() if is_cut else target
        targets.append(target)
        sources.append(source)
        stream = stream + layer.write_scale[:, None] * (source @ weights.decoder) + layer.mlp_constant
    logits = stream[-1] @ world.last_logits.T
    leaves = [embedded, *sources]

    def row(value: Tensor) -> Tensor:
        gradients = torch.autograd.grad(value, leaves, retain_graph=True, materialize_grads=True)
        effects = [(gradient * leaf).detach() for gradient, leaf in zip(gradients, leaves, strict=True)]
        return torch.cat([effects[0].sum(-1), *[effect.flatten() for effect in effects[1:]]])

    on_neurons = torch.stack([row(value) for target in targets for value in target.flatten()])
    return on_neurons, torch.stack([row(value) for value in logits])


@pytest.fixture(params=[0, 1])
def world(request: pytest.FixtureRequest) -> World:
    """A gated world and a plain one."""
    return make_world(request.param, plain=request.param == 1)


@pytest.fixture(scope="session")
def make() -> Callable[..., World]:
    """Makes worlds of other sizes."""
    return make_world


@pytest.fixture(scope="session")
def slow() -> Callable[..., tuple[Tensor, Tensor]]:
    """The slow way."""
    return slow_effects
