"""From a group of encoded prompts to their graphs: one forward pass records all of them, `attribute.py` computes their numbers,
and each one's numbers become the frames of a graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuron_atlas.core.attribution.attribute import (
    Attributed,
    Encoded,
    TraceParameters,
    attribute_differentiated,
    attribute_frozen,
)
from neuron_atlas.core.attribution.effects.graph_scores import GraphScores, KeptEdges, relative_violation, score_graph
from neuron_atlas.core.attribution.graph.traced_graph import TracedGraph
from neuron_atlas.core.attribution.linearisation.freeze import first_non_finite
from neuron_atlas.core.attribution.linearisation.goal import Goal, choose_goal
from neuron_atlas.core.attribution.traceable_model import TraceableModel
from neuron_atlas.core.records import GraphSummary, Quarantined
from neuron_atlas.core.tables import EDGES, NODES, TARGETS, Table
from neuron_atlas.errors import BadInput

Values: TypeAlias = "NDArray[np.float32] | NDArray[np.float64] | NDArray[np.int64] | Sequence[int | float | str | None]"
"""What a column is made from."""


def build_graphs(
    model: TraceableModel, group: Sequence[Encoded], parameters: TraceParameters
) -> list[TracedGraph | Quarantined]:
    """Graphs of a group of prompts, in order; a prompt whose numbers are not finite, or whose answers name no token, comes back
    quarantined."""
    with torch.no_grad():
        recordings = model.record([encoded.token_ids[: encoded.end] for encoded in group])
        results: list[TracedGraph | Quarantined | None] = [None] * len(group)
        sound: list[int] = []
        goals: list[Goal] = []
        for index, (encoded, recording) in enumerate(zip(group, recordings, strict=True)):
            fault = first_non_finite(recording)
            if fault is not None:
                results[index] = Quarantined(encoded.prompt, fault)
                continue
            try:
                k = parameters.options.k
                goals.append(choose_goal(model, encoded.prompt, recording.logits, k=k, direction=parameters.direction))
                sound.append(index)
            except BadInput as error:
                results[index] = Quarantined(encoded.prompt, str(error))
        kept = [recordings[index] for index in sound]
    attribute = attribute_frozen if parameters.rules.is_linear else attribute_differentiated
    for index, attributed in zip(sound, attribute(model, kept, goals, parameters), strict=True):
        results[index] = _build_graph(model, group[index], attributed, parameters)
    return [result for result in results if result is not None]


def _build_graph(
    model: TraceableModel, encoded: Encoded, attributed: Attributed, parameters: TraceParameters
) -> TracedGraph | Quarantined:
    """The graph of one prompt's numbers, with its edges chosen and its scores; quarantined when a number is not finite."""
    inflow, linear_goal, goal = attributed.inflow, attributed.linear_goal, attributed.goal
    if not torch.isfinite(inflow.effects).all() or not torch.isfinite(attributed.node_relevance).all():
        return Quarantined(encoded.prompt, "direct effects are not finite although the forward pass is; try float32")
    weights = np.array(goal.weights)
    parts = np.abs(weights * linear_goal.values.cpu().numpy().astype(np.float64))
    shares = parts / parts.sum() if parts.sum() > 0 else np.full(len(parts), 1.0 / len(parts))
    layers = np.concatenate([attributed.nodes.layers, np.full(len(weights), model.spec.n_layers)])
    scores = score_graph(inflow, goal_shares=shares, layers=layers, edge_tau=parameters.options.edge_tau)
    at_bottom = np.append(_array(attributed.embedding_relevance), attributed.constant_relevance)
    goal_violation = relative_violation(
        at_bottom.sum(keepdims=True), np.array([linear_goal.goal_value]), np.abs(at_bottom).sum(keepdims=True)
    )
    summary = GraphSummary(
        token_ids=encoded.token_ids,
        tokens=tuple(model.token_text(token) for token in encoded.token_ids),
        position=encoded.end - 1,
        goal=goal.kind,
        goal_value=linear_goal.goal_value,
        rules=parameters.rules.identity,
        dtype=model.spec.dtype,
        is_trimmed=attributed.nodes.is_trimmed,
        completeness=scores.completeness,
        replacement=scores.replacement,
        conservation_error=max(scores.conservation_error, goal_violation),
        kept_edge_share=scores.kept_edge_share,
        note="; ".join(_notes(model, encoded, goal, parameters)),
        model_id=model.spec.model_id,
        model_revision=model.spec.revision,
        options=parameters.options,
    )
    n_tokens = len(encoded.token_ids)
    return TracedGraph(
        prompt=encoded.prompt,
        nodes=_node_frame(model, encoded, attributed, scores, weights),
        edges=edge_frame(scores.edges, length=encoded.end, n_tokens=n_tokens),
        logits=_target_frame(attributed, first_node=n_tokens + len(attributed.nodes)),
        summary=summary,
    )


def _notes(model: TraceableModel, encoded: Encoded, goal: Goal, parameters: TraceParameters) -> list[str]:
    """What a reader of the graph should know."""
    notes = [*goal.notes, *([parameters.note] if parameters.note else [])]
    unknown = sum(token == model.unknown_id for token in encoded.token_ids)
    if unknown:
        notes.append(f"{unknown} of the prompt's tokens are unknown to the tokenizer")
    if parameters.options.centre_logits:
        notes.append("logits are measured against their mean over the vocabulary")
    if not parameters.rules.is_linear:
        notes.append(f"rule set {parameters.rules.name} does not conserve: inflows do not sum to values")
    return list(dict.fromkeys(notes))


def _node_frame(
    model: TraceableModel, encoded: Encoded, attributed: Attributed, scores: GraphScores, weights: NDArray[np.float64]
) -> pl.DataFrame:
    """Rows of table `nodes`: every token's embedding, neurons, logits. Tokens after the traced position have no effect."""
    inflow, nodes, goal = attributed.inflow, attributed.nodes, attributed.goal
    n_tokens, length, n_neurons, n_logits = len(encoded.token_ids), encoded.end, len(nodes), len(goal.weights)
    values, bias = _array(inflow.values), _array(inflow.bias)
    direct = weights @ _array(inflow.effects[n_neurons:])
    at_logits = weights * values[n_neurons:]

    def sources(values: NDArray[np.float64], at_logits: NDArray[np.float64], *, after: float) -> NDArray[np.float64]:
        return np.concatenate([values[:length], np.full(n_tokens - length, after), values[length:], at_logits])

    def targets(at_embeddings: float, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate([np.full(n_tokens, at_embeddings), values])

    relevance = np.concatenate([_array(attributed.embedding_relevance), _array(attributed.node_relevance)])
    columns: dict[str, Values] = {
        "node": np.arange(n_tokens + n_neurons + n_logits),
        "kind": ["embedding"] * n_tokens + ["neuron"] * n_neurons + ["logit"] * n_logits,
        "layer": np.concatenate([np.full(n_tokens, -1), nodes.layers, np.full(n_logits, model.spec.n_layers)]),
        "position": np.concatenate([np.arange(n_tokens), nodes.positions, np.full(n_logits, length - 1)]),
        "neuron": [None] * n_tokens + nodes.neurons.tolist() + [None] * n_logits,
        "token_id": [*encoded.token_ids, *[None] * n_neurons, *goal.token_ids],
        "activation": targets(1.0, values),
        "relevance": sources(relevance, at_logits, after=0.0),
        "direct": sources(direct, at_logits, after=0.0),
        "influence": sources(scores.rank, np.zeros(n_logits), after=1.0),
        "bias": targets(0.0, bias),
        "error": targets(0.0, scores.error),
    }
    return _frame(NODES, columns)


def edge_frame(edges: KeptEdges, *, length: int, n_tokens: int) -> pl.DataFrame:
    """Rows of table `edges`, sorted by (target, source)."""
    sources = np.where(edges.sources < length, edges.sources, edges.sources + (n_tokens - length))
    return _frame(EDGES, {"source": sources, "target": edges.targets + n_tokens, "weight": edges.weights})


def _target_frame(attributed: Attributed, *, first_node: int) -> pl.DataFrame:
    """Rows of table `targets`: logits as the model gives them, with probabilities."""
    goal, count = attributed.goal, len(attributed.goal.weights)
    if goal.direction is not None:
        logits, probabilities = attributed.linear_goal.values, torch.zeros_like(attributed.linear_goal.values)
    else:
        ids = torch.as_tensor(goal.token_ids, device=attributed.logits.device)
        logits, probabilities = attributed.logits[ids], torch.softmax(attributed.logits.double(), 0)[ids]
    columns: dict[str, Values] = {
        "node": np.arange(first_node, first_node + count),
        "token_id": list(goal.token_ids),
        "token": list(goal.tokens),
        "logit": _array(logits),
        "probability": _array(probabilities),
        "goal_weight": list(goal.weights),
    }
    return _frame(TARGETS, columns)


def _frame(table: Table, columns: Mapping[str, Values]) -> pl.DataFrame:
    """A frame with the table's types, `prompt_id` left out."""
    schema = {name: dtype for name, dtype in table.schema.items() if name != "prompt_id"}
    series = [pl.Series(name, columns[name], dtype=None).cast(dtype) for name, dtype in schema.items()]
    return pl.DataFrame(series)


def _array(value: Tensor) -> NDArray[np.float64]:
    return value.double().cpu().numpy()
