"""What the page shows of a graph, as columns ready for JSON."""

from __future__ import annotations

import math

import numpy as np

from neuron_atlas.core.attribution.exchange.rows import GraphRows, NodeRow, graph_rows
from neuron_atlas.core.json_types import JsonObject, JsonValue
from neuron_atlas.core.records import AttributionGraph, NeuronLabels

MAX_LINKS = 20_000
"""Links on the page: those of largest |flow|."""


def page_data(graph: AttributionGraph, *, labels: NeuronLabels) -> JsonObject:
    """The page's data: `nodes` and `links` as columns, `answers`, `tokens`, `scores`, and what it says at the top."""
    rows = graph_rows(graph)
    flows = link_flows(rows)
    order = np.argsort(-np.abs(flows), kind="stable")[:MAX_LINKS].tolist()
    summary = graph.summary
    return {
        "prompt": graph.prompt.text,
        "goal": summary.goal,
        "goal_value": _number(summary.goal_value),
        "rules": summary.rules,
        "model": summary.model_id,
        "note": summary.note,
        "layers": rows.n_layers,
        "position": summary.position,
        "tokens": list[JsonValue](summary.tokens),
        "scores": {name: _number(value) for name, value in graph.scores.items()},
        "answers": [
            {"node": a.node, "token": a.token, "logit": a.logit, "probability": a.probability, "weight": a.goal_weight}
            for a in rows.logits.values()
        ],
        "nodes": {
            "kind": [row.kind for row in rows.nodes],
            "layer": [row.layer for row in rows.nodes],
            "position": [row.position for row in rows.nodes],
            "name": [_name(row, graph) for row in rows.nodes],
            "label": [labels.get((row.id, row.polarity), "") if row.kind == "neuron" else "" for row in rows.nodes],
            "activation": [row.activation for row in rows.nodes],
            "relevance": [row.relevance for row in rows.nodes],
            "direct": [row.direct for row in rows.nodes],
            "influence": [row.influence for row in rows.nodes],
            "error": [row.error for row in rows.nodes],
        },
        "links": {
            "source": [rows.sources[i] for i in order],
            "target": [rows.targets[i] for i in order],
            "weight": [rows.weights[i] for i in order],
            "flow": [float(f"{flows[i]:.6g}") for i in order],
        },
        "links_left_out": len(rows.weights) - len(order),
    }


def link_flows(rows: GraphRows) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Flow of every link, [M] in logits: weight · slope of its target, slope = R / v, or the goal weight for a logit."""
    slope = np.zeros(len(rows.nodes))
    for row in rows.nodes:
        if row.kind == "logit":
            slope[row.node] = rows.logits[row.node].goal_weight
        elif row.activation:
            slope[row.node] = row.relevance / row.activation
    return np.array(rows.weights, np.float64) * slope[np.array(rows.targets, np.int64)]


def _name(row: NodeRow, graph: AttributionGraph) -> str:
    match row.kind:
        case "neuron":
            return str(row.id)
        case "embedding":
            return graph.summary.tokens[row.position]
        case "logit":
            return ""


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
