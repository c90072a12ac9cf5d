"""From a group of prompts to their graphs: record, freeze, score nodes, select, sweep, score the graph, lay out frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor

from neuron_atlas.core.attribution.nodes import NodeScores, score_nodes
from neuron_atlas.core.attribution.plan import Machine
from neuron_atlas.core.attribution.record import Frozen, Recording, first_fault, freeze
from neuron_atlas.core.attribution.replay import CONSTANTS, NEURONS, replay
from neuron_atlas.core.attribution.rules import RuleSet
from neuron_atlas.core.attribution.scores import Inflow, Scores, cumulative_rank, score_graph
from neuron_atlas.core.attribution.select import Nodes, select_nodes
from neuron_atlas.core.attribution.subject import TraceableModel
from neuron_atlas.core.attribution.sweep import Vectors, direct_effects, node_vectors
from neuron_atlas.core.attribution.targets import Goal, Traced, choose_goal, trace_goal
from neuron_atlas.core.records import AttributionGraph, GraphSummary, Prompt, Quarantined, TraceOptions
from neuron_atlas.core.tables import EDGES, NODES, TARGETS
from neuron_atlas.errors import BadInput


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
class _Explained:
    """Everything computed of one prompt, before it is laid out."""

    goal: Goal
    traced: Traced
    nodes: Nodes
    node_relevance: Tensor
    embedding_relevance: Tensor
    inflow: Inflow
    logits: Tensor


def build_graphs(
    model: TraceableModel, group: Sequence[Encoded], request: Request
) -> list[AttributionGraph | Quarantined]:
    """Graphs of a group of prompts, in order; a prompt whose numbers are not finite or whose goal makes no sense comes back
    quarantined."""
    with torch.no_grad():
        recordings = model.record([encoded.token_ids[: encoded.end] for encoded in group])
        results: list[AttributionGraph | Quarantined | None] = [None] * len(group)
        sound: list[int] = []
        goals: list[Goal] = []
        for index, (encoded, recording) in enumerate(zip(group, recordings, strict=True)):
            fault = first_fault(recording)
            if fault is not None:
                results[index] = Quarantined(encoded.prompt, fault)
                continue
            try:
                k = request.options.k
                goals.append(choose_goal(model, encoded.prompt, recording.logits, k=k, direction=request.direction))
                sound.append(index)
            except BadInput as error:
                results[index] = Quarantined(encoded.prompt, str(error))
        kept = [recordings[index] for index in sound]
    explained = (
        _explain_frozen(model, kept, goals, request)
        if request.rules.is_linear
        else _differentiate(model, kept, goals, request)
    )
    for index, found in zip(sound, explained, strict=True):
        with torch.no_grad():
            results[index] = _lay_out(model, group[index], found, request)
    return [result for result in results if result is not None]


def _explain_frozen(
    model: TraceableModel, recordings: Sequence[Recording], goals: Sequence[Goal], request: Request
) -> list[_Explained]:
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
) -> _Explained:
    relevance = scores.neurons[0]
    nodes = select_nodes(relevance.cpu().numpy(), goal_value=traced.goal_value, options=request.options)
    vectors = node_vectors(model.folded, frozen, nodes, traced.vectors)
    effects = direct_effects(model.folded, frozen, vectors, machine=request.machine)
    neurons, bias = _whole_inflow(model, frozen, nodes, traced, vectors)
    where = _index(nodes, relevance.device)
    activation = torch.stack([layer.activation for layer in frozen.layers])[where]
    values = torch.cat([activation, traced.values])
    inflow = Inflow(effects, neurons, bias, values, frozen.length)
    return _Explained(goal, traced, nodes, relevance[where], scores.embeddings[0], inflow, frozen.logits)


def _whole_inflow(
    model: TraceableModel, frozen: Frozen, nodes: Nodes, traced: Traced, vectors: Vectors
) -> tuple[Tensor, Tensor]:
    """What all neurons together, and the constants, give to every target: two vectors [N + k]."""
    streams = replay(model.folded, frozen)
    layers = torch.as_tensor(nodes.layers, device=vectors.read.device)
    positions = torch.as_tensor(nodes.positions, device=vectors.read.device)
    inflows: list[Tensor] = []
    for part in (NEURONS, CONSTANTS):
        at_neurons = streams.before_mlp[layers, part, positions]
        at_logits = streams.final[part, -1].expand(traced.values.shape[0], -1)
        inflows.append((vectors.read * torch.cat([at_neurons, at_logits])).sum(1, dtype=torch.float64))
    own = [torch.zeros(len(nodes), dtype=torch.float64, device=layers.device), traced.constants.double()]
    if frozen.layers[0].neuron_bias is not None:
        biases = [layer.neuron_bias for layer in frozen.layers if layer.neuron_bias is not None]
        own[0] = torch.stack(biases)[_index(nodes, layers.device)].double()
    return inflows[0], inflows[1] + torch.cat(own)


def _differentiate(
    model: TraceableModel, recordings: Sequence[Recording], goals: Sequence[Goal], request: Request
) -> list[_Explained]:
    """The same by automatic differentiation, for rule sets that are not linear; nothing is conserved, no constant is known."""
    found: list[_Explained] = []
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
        found.append(_Explained(goal, traced, nodes, relevance[where], embeddings, inflow, logits))
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


def _lay_out(
    model: TraceableModel, encoded: Encoded, found: _Explained, request: Request
) -> AttributionGraph | Quarantined:
    inflow, traced, goal = found.inflow, found.traced, found.goal
    if not torch.isfinite(inflow.effects).all() or not torch.isfinite(found.node_relevance).all():
        return Quarantined(encoded.prompt, "direct effects are not finite although the forward pass is; try float32")
    weights = torch.tensor(goal.weights, device=traced.values.device)
    part = (weights * traced.values).abs()
    shares = part / part.sum() if part.sum() > 0 else torch.full_like(part, 1.0 / len(part))
    layers = np.concatenate([found.nodes.layers, np.full(len(goal.weights), model.spec.n_layers)])
    scores = score_graph(
        inflow,
        goal_shares=shares,
        layers=torch.as_tensor(layers, device=shares.device),
        edge_tau=request.options.edge_tau,
    )
    notes = [*goal.notes, *([request.note] if request.note else [])]
    unknown = sum(token == model.unknown_id for token in encoded.token_ids)
    if unknown:
        notes.append(f"{unknown} of the prompt's tokens are unknown to the tokenizer")
    if request.options.centre_logits:
        notes.append("logits are measured against their mean over the vocabulary")
    summary = GraphSummary(
        token_ids=encoded.token_ids,
        tokens=tuple(model.token_text(token) for token in encoded.token_ids),
        position=encoded.end - 1,
        goal=goal.kind,
        goal_value=traced.goal_value,
        rules=request.rules.identity,
        dtype=model.spec.dtype,
        is_trimmed=found.nodes.is_trimmed,
        completeness=scores.completeness,
        replacement=scores.replacement,
        conservation_error=scores.conservation_error,
        kept_edge_share=scores.kept_edge_share,
        note="; ".join(dict.fromkeys(notes)),
        model_id=model.spec.model_id,
        model_revision=model.spec.revision,
        options=request.options,
    )
    n_tokens, length = len(encoded.token_ids), encoded.end
    return AttributionGraph(
        prompt=encoded.prompt,
        nodes=_node_frame(model, encoded, found, scores, weights),
        edges=_edge_frame(inflow.effects, scores.kept, length=length, n_tokens=n_tokens),
        logits=_target_frame(found, first_node=n_tokens + len(found.nodes)),
        summary=summary,
    )


def _node_frame(
    model: TraceableModel, encoded: Encoded, found: _Explained, scores: Scores, weights: Tensor
) -> pl.DataFrame:
    """Rows of table `nodes`: every token's embedding, neurons, logits. Tokens behind the traced position have no effect."""
    inflow, nodes, goal = found.inflow, found.nodes, found.goal
    n_tokens, length, n_neurons, n_logits = len(encoded.token_ids), encoded.end, len(nodes), len(goal.weights)
    behind = n_tokens - length
    direct = weights @ inflow.effects[n_neurons:]
    rank = cumulative_rank(scores.influence)

    def column(embeddings: Tensor, neurons: Tensor, logits: Tensor, *, missing: float = 0.0) -> pl.Series:
        rows = [embeddings, embeddings.new_full((behind,), missing), neurons, logits]
        return pl.Series(torch.cat([row.float() for row in rows]).cpu().numpy(), dtype=pl.Float32)

    none = torch.zeros(length, device=weights.device)
    at_logits = weights * found.traced.values
    n_rows = n_tokens + n_neurons + n_logits
    frame = pl.DataFrame(
        {
            "node": np.arange(n_rows, dtype=np.int32),
            "kind": ["embedding"] * n_tokens + ["neuron"] * n_neurons + ["logit"] * n_logits,
            "layer": np.concatenate([np.full(n_tokens, -1), nodes.layers, np.full(n_logits, model.spec.n_layers)]),
            "position": np.concatenate([np.arange(n_tokens), nodes.positions, np.full(n_logits, length - 1)]),
            "neuron": [None] * n_tokens + nodes.neurons.tolist() + [None] * n_logits,
            "token_id": [*encoded.token_ids, *[None] * n_neurons, *goal.token_ids],
            "activation": column(none + 1.0, inflow.values[:n_neurons], inflow.values[n_neurons:], missing=1.0),
            "relevance": column(found.embedding_relevance, found.node_relevance, at_logits),
            "direct": column(direct[:length], direct[length:], at_logits),
            "influence": column(rank[:length], rank[length:], at_logits * 0.0, missing=1.0),
            "bias": column(none, inflow.bias[:n_neurons], inflow.bias[n_neurons:]),
            "error": column(none, scores.error[:n_neurons], scores.error[n_neurons:]),
        },
        schema_overrides={"neuron": pl.Int32, "token_id": pl.Int32},
    )
    return frame.select(pl.col(c.name).cast(c.dtype) for c in NODES.columns if c.name != "prompt_id")


def _edge_frame(effects: Tensor, kept: Tensor, *, length: int, n_tokens: int) -> pl.DataFrame:
    """Rows of table `edges`, sorted by (target, source)."""
    targets, sources = kept.nonzero(as_tuple=True)
    weights = effects[targets, sources]
    sources = torch.where(sources < length, sources, sources + (n_tokens - length))
    frame = pl.DataFrame(
        {
            "source": sources.int().cpu().numpy(),
            "target": (targets + n_tokens).int().cpu().numpy(),
            "weight": weights.float().cpu().numpy(),
        }
    )
    return frame.select(pl.col(c.name).cast(c.dtype) for c in EDGES.columns if c.name != "prompt_id")


def _target_frame(found: _Explained, *, first_node: int) -> pl.DataFrame:
    """Rows of table `targets`: logits as the model gives them, with probabilities."""
    goal, count = found.goal, len(found.goal.weights)
    if goal.direction is not None:
        logits, probabilities = found.traced.values, torch.zeros_like(found.traced.values)
    else:
        ids = torch.as_tensor(goal.token_ids, device=found.logits.device)
        logits, probabilities = found.logits[ids], torch.softmax(found.logits.double(), 0)[ids]
    frame = pl.DataFrame(
        {
            "node": np.arange(first_node, first_node + count),
            "token_id": list(goal.token_ids),
            "token": list(goal.tokens),
            "logit": logits.cpu().numpy(),
            "probability": probabilities.cpu().numpy(),
            "goal_weight": list(goal.weights),
        }
    )
    return frame.select(pl.col(c.name).cast(c.dtype) for c in TARGETS.columns if c.name != "prompt_id")
