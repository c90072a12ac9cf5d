"""From recorded prompts to all numbers of their graphs: relevance, nodes, direct effects, and the whole inflow of every target.

The weights of edges are the direct effects of `effects/direct_effects.py`; which of them are kept is decided in
`effects/graph_scores.py`, when the graph's frames are made (`graph/build_graphs.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from neuron_atlas.core.attribution.effects.direct_effects import NodeVectors, direct_effects, node_vectors
from neuron_atlas.core.attribution.effects.graph_scores import Inflow
from neuron_atlas.core.attribution.effects.relevance import SourceRelevance, relevance_to_goals
from neuron_atlas.core.attribution.effects.sweep_plan import HardwareProfile
from neuron_atlas.core.attribution.linearisation.freeze import FrozenModel, Recording, freeze
from neuron_atlas.core.attribution.linearisation.goal import Goal, LinearGoal, linearise_goal
from neuron_atlas.core.attribution.linearisation.replay import Part, has_constants, replay
from neuron_atlas.core.attribution.linearisation.rules import RuleSet
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
class TraceParameters:
    """What shapes the graphs of a group beside its prompts: the options, with their rule set looked up, the direction [V] to trace
    instead of answers, how the sweeps use the hardware, and a note for every graph (empty: none)."""

    options: TraceOptions
    rules: RuleSet
    hardware: HardwareProfile
    direction: Tensor | None = None
    note: str = ""


@dataclass(frozen=True)
class Attributed:
    """All numbers of one prompt's graph, before they become frames.

    `node_relevance` [N] of the selected nodes, `embedding_relevance` [P], `logits` [V]. `constant_relevance` is the part of the
    goal that constants hold: with the embeddings' relevance it sums to the goal.
    """

    goal: Goal
    linear_goal: LinearGoal
    nodes: Nodes
    node_relevance: Tensor
    embedding_relevance: Tensor
    constant_relevance: float
    inflow: Inflow
    logits: Tensor


def attribute_frozen(
    model: TraceableModel, recordings: Sequence[Recording], goals: Sequence[Goal], parameters: TraceParameters
) -> list[Attributed]:
    """Attribute prompts under a linear rule set: relevances for all of them together, edges prompt by prompt."""
    if not recordings:
        return []
    with torch.no_grad():
        folded, options = model.folded, parameters.options
        frozen = [freeze(folded, recording, parameters.rules) for recording in recordings]
        linear_goals = [
            linearise_goal(folded, run, goal, centre=options.centre_logits)
            for run, goal in zip(frozen, goals, strict=True)
        ]
        relevances = relevance_to_goals(folded, frozen, [linear.goal_vector[None] for linear in linear_goals])
        return [
            _attribute_one(model, *parts, parameters=parameters)
            for parts in zip(frozen, goals, linear_goals, relevances, strict=True)
        ]


def _attribute_one(
    model: TraceableModel,
    frozen: FrozenModel,
    goal: Goal,
    linear_goal: LinearGoal,
    relevances: SourceRelevance,
    *,
    parameters: TraceParameters,
) -> Attributed:
    relevance = relevances.neurons[0]
    nodes = select_nodes(relevance.cpu().numpy(), goal_value=linear_goal.goal_value, options=parameters.options)
    vectors = node_vectors(model.folded, frozen, nodes, linear_goal.vectors)
    effects = direct_effects(model.folded, frozen, vectors, hardware=parameters.hardware)
    neurons, bias = whole_inflow(model, frozen, nodes, linear_goal, vectors)
    where = _index(nodes, relevance.device)
    activation = torch.stack([layer.activation for layer in frozen.layers])[where]
    values = torch.cat([activation, linear_goal.values])
    inflow = Inflow(effects, neurons, bias, values, frozen.length)
    weights = torch.tensor(goal.weights, device=where[0].device)
    return Attributed(
        goal=goal,
        linear_goal=linear_goal,
        nodes=nodes,
        node_relevance=relevance[where],
        embedding_relevance=relevances.embeddings[0],
        constant_relevance=float(relevances.bias[0]) + float(weights @ linear_goal.constants),
        inflow=inflow,
        logits=frozen.logits,
    )


def whole_inflow(
    model: TraceableModel, frozen: FrozenModel, nodes: Nodes, linear_goal: LinearGoal, vectors: NodeVectors
) -> tuple[Tensor, Tensor]:
    """What all neurons together, and the constants, contribute to every target: two float64 vectors [N + k]."""
    parts: tuple[Part, ...] = ("neurons", "constants") if has_constants(frozen) else ("neurons",)
    streams = replay(model.folded, frozen, parts=parts)
    layers, positions, _ = _index(nodes, vectors.read.device)
    inflows: list[Tensor] = []
    for row in range(len(parts)):
        at_logits = streams.final[row, -1].expand(linear_goal.values.shape[0], -1)
        at_targets = torch.cat([streams.before_mlp[layers, row, positions], at_logits])
        inflows.append((vectors.read * at_targets).sum(1, dtype=torch.float64))
    own = [torch.zeros(len(nodes), dtype=torch.float64, device=layers.device), linear_goal.constants.double()]
    biases = [layer.neuron_bias for layer in frozen.layers if layer.neuron_bias is not None]
    if biases:
        own[0] = torch.stack(biases)[_index(nodes, layers.device)].double()
    return inflows[0], torch.cat(own) + (inflows[1] if len(inflows) > 1 else 0.0)


def attribute_differentiated(
    model: TraceableModel, recordings: Sequence[Recording], goals: Sequence[Goal], parameters: TraceParameters
) -> list[Attributed]:
    """Attribute prompts by automatic differentiation, for rule sets that are not linear; nothing is conserved, and no constant part
    is known."""
    attributed: list[Attributed] = []
    for recording, goal in zip(recordings, goals, strict=True):
        logits = recording.logits.clone()
        over_logits = _over_logits(goal, logits)
        if parameters.options.centre_logits:
            over_logits = over_logits - over_logits.sum(1, keepdim=True) / logits.numel()
        weights = torch.tensor(goal.weights, device=logits.device)
        derivatives = model.differentiate(recording.token_ids, parameters.rules)
        relevance, embeddings = derivatives.relevance(weights @ over_logits)
        values = over_logits @ logits
        goal_value = float((weights * values).sum())
        nodes = select_nodes(relevance.cpu().numpy(), goal_value=goal_value, options=parameters.options)
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
        linear_goal = LinearGoal(over_logits, values, torch.zeros_like(values), weights @ over_logits, goal_value)
        attributed.append(Attributed(goal, linear_goal, nodes, relevance[where], embeddings, 0.0, inflow, logits))
    return attributed


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
