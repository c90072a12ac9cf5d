"""Other ways to the same edges, that `attribution.py` measures against. All return what the sweep returns: [N + k, P + N].

published  One forward pass of the Hugging Face model per ordered pair of layers and one backward pass per target and pair,
           activations of the source layer as leaf, later MLPs stopped, queries and keys stopped. This is how a published
           pipeline does it; its leak through attention is mended here so that the numbers agree.
autograd   One forward pass of the Hugging Face model with every MLP cut, targets differentiated in batches of 32 by all
           layers below at once: `AutogradDerivatives`, which other rule sets use.
folded     The same on the folded linear model, 64 targets a batch: no norms, no queries and keys, no repeated heads.
lean       The same with what every MLP writes as leaf, [P, D] instead of [P, I], and the selected neurons' decoder rows
           applied afterwards: the best that automatic differentiation does here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from neuron_atlas.adapters.subject_model.autograd import differentiable_pass
from neuron_atlas.adapters.subject_model.huggingface import HuggingFaceModel
from neuron_atlas.core.attribution.effects.direct_effects import NodeVectors
from neuron_atlas.core.attribution.linearisation.fold import FoldedModel
from neuron_atlas.core.attribution.linearisation.freeze import FrozenModel
from neuron_atlas.core.attribution.linearisation.rules import rule_set
from neuron_atlas.core.attribution.select_nodes import Nodes

FOLDED_TARGETS = 64


def folded_edges(model: FoldedModel, frozen: FrozenModel, nodes: Nodes, vectors: NodeVectors) -> Tensor:
    """Batched vector-Jacobian products, activations as leaves."""
    streams, leaves = _linear(model, frozen, through_decoder=True)
    length = frozen.length

    def read(found: Sequence[Tensor], effects: Tensor) -> None:
        effects[:, :length] = (found[0] * leaves[0]).sum(-1)
        for index, gradient in enumerate(found[1:]):
            first, last = np.searchsorted(nodes.layers, [index, index + 1])
            where = (nodes.positions[first:last], nodes.neurons[first:last])
            effects[:, length + first : length + last] = gradient[:, where[0], where[1]] * leaves[index + 1][where]

    return _differentiate(model, vectors, streams, leaves, read)


def lean_edges(model: FoldedModel, frozen: FrozenModel, nodes: Nodes, vectors: NodeVectors) -> Tensor:
    """Batched vector-Jacobian products, MLP outputs as leaves."""
    streams, leaves = _linear(model, frozen, through_decoder=False)

    def read(found: Sequence[Tensor], effects: Tensor) -> None:
        for index, gradient in enumerate(found):
            columns = np.flatnonzero(vectors.sources.layers == index - 1)
            for position in np.unique(vectors.sources.positions[columns]):
                here = columns[vectors.sources.positions[columns] == position]
                effects[:, here] = gradient[:, position] @ vectors.written[here].T

    return _differentiate(model, vectors, streams, leaves, read)


def _linear(model: FoldedModel, frozen: FrozenModel, *, through_decoder: bool) -> tuple[list[Tensor], list[Tensor]]:
    """The frozen model as an autograd graph: the streams that targets read, by layer, and its leaves from the embeddings up."""
    with torch.enable_grad():
        embedded = frozen.embedded.clone().requires_grad_()
        stream, streams, leaves = embedded, [], [embedded]
        for weights, layer in zip(model.layers, frozen.layers, strict=True):
            values = (stream @ weights.value.T).view(frozen.length, layer.mix.shape[1], -1).transpose(0, 1)
            mixed = torch.matmul(layer.mix, values[None]).permute(2, 0, 1, 3).reshape(frozen.length, -1)
            stream = stream + mixed @ weights.out.T
            streams.append(stream)
            leaf = (layer.activation if through_decoder else layer.neurons_written).clone().requires_grad_()
            leaves.append(leaf)
            stream = stream + (leaf @ weights.decoder if through_decoder else leaf)
        return [*streams, stream], leaves


def _differentiate(
    model: FoldedModel,
    vectors: NodeVectors,
    streams: Sequence[Tensor],
    leaves: Sequence[Tensor],
    read: Callable[[Sequence[Tensor], Tensor], None],
) -> Tensor:
    """Backward passes for all targets, a layer and a block at a time."""
    effects = vectors.read.new_zeros(vectors.read.shape[0], vectors.written.shape[0])
    for index, stream in enumerate(streams):
        rows = np.flatnonzero(vectors.targets.layers == index)
        for start in range(0, len(rows), FOLDED_TARGETS):
            some = rows[start : start + FOLDED_TARGETS]
            seeds = stream.new_zeros(len(some), *stream.shape)
            seeds[range(len(some)), vectors.targets.positions[some]] = vectors.read[some]
            below = list(leaves[: index + 1])
            found = torch.autograd.grad(stream, below, seeds, retain_graph=True, is_grads_batched=True)
            read(found, effects[int(some[0]) : int(some[-1]) + 1])
    return effects


def autograd_edges(model: HuggingFaceModel, token_ids: Sequence[int], nodes: Nodes, logit_ids: Sequence[int]) -> Tensor:
    """Batched vector-Jacobian products through the Hugging Face model."""
    over_logits = torch.zeros(len(logit_ids), model.spec.vocab_size)
    over_logits[range(len(logit_ids)), list(logit_ids)] = 1.0
    return model.differentiate(token_ids, rule_set("relp")).direct_effects(nodes, over_logits)[0]


def published_edges(
    model: HuggingFaceModel, token_ids: Sequence[int], nodes: Nodes, logit_ids: Sequence[int]
) -> Tensor:
    """One forward pass per ordered pair of layers, one backward pass per target and pair."""
    length, n_layers, n_nodes = len(token_ids), model.spec.n_layers, len(nodes)
    effects = torch.zeros(n_nodes + len(logit_ids), length + n_nodes)
    layers_with_nodes = sorted(set(nodes.layers.tolist()))
    for target_layer in [*layers_with_nodes, n_layers]:
        targets = np.flatnonzero(nodes.layers == target_layer)
        rows = targets if target_layer < n_layers else np.arange(n_nodes, n_nodes + len(logit_ids))
        for source_layer in [-1, *[layer for layer in layers_with_nodes if layer < target_layer]]:
            with torch.enable_grad(), differentiable_pass(model.parts, rule_set("relp"), is_cut=False) as run:
                logits = model.module(input_ids=torch.tensor([list(token_ids)]), use_cache=False).logits[0, -1]
                if target_layer < n_layers:
                    values = run.targets[target_layer][0][nodes.positions[targets], nodes.neurons[targets]]
                else:
                    values = logits[list(logit_ids)]
                for between in run.targets[source_layer + 1 : target_layer]:
                    between.register_hook(torch.zeros_like)
                leaf = run.embedded if source_layer < 0 else run.sources[source_layer]
                sources = np.flatnonzero(nodes.layers == source_layer)
                for row, value in zip(rows, values, strict=True):
                    (gradient,) = torch.autograd.grad(value, leaf, retain_graph=True)
                    found = (gradient * leaf)[0].detach()
                    if source_layer < 0:
                        effects[row, :length] = found.sum(-1)
                    else:
                        effects[row, length + sources] = found[nodes.positions[sources], nodes.neurons[sources]]
    return effects
