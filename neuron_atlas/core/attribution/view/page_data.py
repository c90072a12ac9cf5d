"""What the page shows of a graph, as columns ready for JSON."""

from __future__ import annotations

import math

import numpy as np

from neuron_atlas.core.attribution.effects.edge_flow import edge_flows
from neuron_atlas.core.attribution.exchange.graph_rows import NodeRow, graph_rows, with_short_floats
from neuron_atlas.core.json_types import JsonObject, JsonValue
from neuron_atlas.core.records import AttributionGraph, NeuronLabels

MAX_LINKS = 20_000
"""Links on the page: those of largest |flow|."""


def page_data(graph: AttributionGraph, *, labels: NeuronLabels) -> JsonObject:
    """The page's data: `nodes` and `links` as columns, `answers`, `tokens`, `scores`, and what it says at the top."""
    graph = with_short_floats(graph)
    rows, flows = graph_rows(graph), edge_flows(graph)["flow"].to_numpy()
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
