"""From recorded prompts to everything a graph says: relevance, nodes, direct effects, and the whole inflow of every target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from neuron_atlas.core.attribution.effects.direct_effects import Vectors, direct_effects, node_vectors
from neuron_atlas.core.attribution.effects.graph_scores import Inflow
from neuron_atlas.core.attribution.effects.relevance import NodeScores, score_nodes
from neuron_atlas.core.attribution.effects.sweep_plan import Machine
from neuron_atlas.core.attribution.linearisation.freeze import Frozen, Recording, freeze
from neuron_atlas.core.attribution.linearisation.replay import Part, has_constants, replay
from neuron_atlas.core.attribution.linearisation.rules import RuleSet
from neuron_atlas.core.attribution.linearisation.targets import Goal, Traced, trace_goal
from neuron_atlas.core.attribution.select_nodes import Nodes, select_nodes
from neuron_atlas.core.attribution.traceable_model import TraceableModel
from neuron_atlas.core.records import Prompt, TraceOptions


@dataclass(frozen=True)
class Encoded:
    """A prompt in tokens; `end` of them come up to the traced position."""

    prompt: Prompt
    token_ids: tuple[int, ...]
    end: int


@dataclass(frozen=True)
class Request:
    """What shapes the graphs of a group beside its prompts."""

    options: TraceOptions
    rules: RuleSet
    machine: Machine
    direction: Tensor | None = None
    note: str = ""


@dataclass(frozen=True)
class Explained:
    """Everything computed of one prompt, before it is laid out. `constant_relevance` is the part of the goal that constants
    hold: with the embeddings' relevance it sums to the goal."""

    goal: Goal
    traced: Traced
    nodes: Nodes
    node_relevance: Tensor
    embedding_relevance: Tensor
    constant_relevance: float
    inflow: Inflow
    logits: Tensor


def explain_frozen(
    model: TraceableModel, recordings: Sequence[Recording], goals: Sequence[Goal], request: Request
) -> list[Explained]:
    """Explain prompts under a linear rule set: scored together, swept one by one."""
    if not recordings:
        return []
    with torch.no_grad():
        folded, options = model.folded, request.options
        frozen = [freeze(folded, recording, request.rules) for recording in recordings]
        traced = [
            trace_goal(folded, run, goal, centre=options.centre_logits) for run, goal in zip(frozen, goals, strict=True)
        ]
        scores = score_nodes(folded, frozen, [target.goal_vector[None] for target in traced])
        return [
            _explain_one(model, *parts, request=request) for parts in zip(frozen, goals, traced, scores, strict=True)
        ]


def _explain_one(
    model: TraceableModel, frozen: Frozen, goal: Goal, traced: Traced, scores: NodeScores, *, request: Request
) -> Explained:
    relevance = scores.neurons[0]
    nodes = select_nodes(relevance.cpu().numpy(), goal_value=traced.goal_value, options=request.options)
    vectors = node_vectors(model.folded, frozen, nodes, traced.vectors)
    effects = direct_effects(model.folded, frozen, vectors, machine=request.machine)
    neurons, bias = whole_inflow(model, frozen, nodes, traced, vectors)
    where = _index(nodes, relevance.device)
    activation = torch.stack([layer.activation for layer in frozen.layers])[where]
    values = torch.cat([activation, traced.values])
    inflow = Inflow(effects, neurons, bias, values, frozen.length)
    constant = float(scores.bias[0]) + float(torch.tensor(goal.weights, device=where[0].device) @ traced.constants)
    return Explained(goal, traced, nodes, relevance[where], scores.embeddings[0], constant, inflow, frozen.logits)


def whole_inflow(
    model: TraceableModel, frozen: Frozen, nodes: Nodes, traced: Traced, vectors: Vectors
) -> tuple[Tensor, Tensor]:
    """What all neurons together, and the constants, give to every target: two float64 vectors [N + k]."""
    parts: tuple[Part, ...] = ("neurons", "constants") if has_constants(frozen) else ("neurons",)
    streams = replay(model.folded, frozen, parts=parts)
    layers, positions, _ = _index(nodes, vectors.read.device)
    inflows: list[Tensor] = []
    for row in range(len(parts)):
        at_logits = streams.final[row, -1].expand(traced.values.shape[0], -1)
        at_targets = torch.cat([streams.before_mlp[layers, row, positions], at_logits])
        inflows.append((vectors.read * at_targets).sum(1, dtype=torch.float64))
    own = [torch.zeros(len(nodes), dtype=torch.float64, device=layers.device), traced.constants.double()]
    biases = [layer.neuron_bias for layer in frozen.layers if layer.neuron_bias is not None]
    if biases:
        own[0] = torch.stack(biases)[_index(nodes, layers.device)].double()
    return inflows[0], torch.cat(own) + (inflows[1] if len(inflows) > 1 else 0.0)


def explain_differentiated(
    model: TraceableModel, recordings: Sequence[Recording], goals: Sequence[Goal], request: Request
) -> list[Explained]:
    """The same by automatic differentiation, for rule sets that are not linear; nothing is conserved, no constant is known."""
    found: list[Explained] = []
    for recording, goal in zip(recordings, goals, strict=True):
        logits = recording.logits.clone()
        over_logits = _over_logits(goal, logits)
        if request.options.centre_logits:
            over_logits = over_logits - over_logits.sum(1, keepdim=True) / logits.numel()
        weights = torch.tensor(goal.weights, device=logits.device)
        derivatives = model.differentiate(recording.token_ids, request.rules)
        relevance, embeddings = derivatives.relevance(weights @ over_logits)
        values = over_logits @ logits
        goal_value = float((weights * values).sum())
        nodes = select_nodes(relevance.cpu().numpy(), goal_value=goal_value, options=request.options)
        effects, neurons = derivatives.direct_effects(nodes, over_logits)
        where = _index(nodes, logits.device)
        activation = torch.stack([layer.activation for layer in recording.layers])[where]
        inflow = Inflow(
            effects,
            neurons.double(),
            torch.zeros_like(neurons).double(),
            torch.cat([activation, values]),
            len(recording.token_ids),
        )
        traced = Traced(over_logits, values, torch.zeros_like(values), weights @ over_logits, goal_value)
        found.append(Explained(goal, traced, nodes, relevance[where], embeddings, 0.0, inflow, logits))
    return found


def _over_logits(goal: Goal, logits: Tensor) -> Tensor:
    """Each target as weights over the vocabulary, [k, V]."""
    if goal.direction is not None:
        return goal.direction[None].clone()
    rows = logits.new_zeros(len(goal.token_ids), logits.numel())
    rows[torch.arange(len(goal.token_ids)), list(goal.token_ids)] = 1.0
    return rows


def _index(nodes: Nodes, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    arrays = (nodes.layers, nodes.positions, nodes.neurons)
    layers, positions, neurons = (torch.as_tensor(array, device=device) for array in arrays)
    return layers, positions, neurons
