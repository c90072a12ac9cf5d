"""A graph in the older viewer's form, which `Graph.from_legacy` of earlier tools reads.

It differs from Neuronpedia's in these places: a neuron's type is `mlp_neuron` and its `influence` is its signed relevance;
a logit's id is `L_{token id}_{position}`, its layer one above the highest neuron present, and it is flagged `isLogit`; an
embedding's `feature` is its token id; there are no error nodes, and a list `features` names every feature once.
"""

from __future__ import annotations

from neuron_atlas.core.attribution.exchange.graph_rows import GraphRows, NodeRow, graph_rows
from neuron_atlas.core.attribution.exchange.neuronpedia import generator, header, logit_values, node_id, own_values
from neuron_atlas.core.attribution.exchange.pins_and_groups import write_arrangement
from neuron_atlas.core.json_types import JsonObject, JsonValue
from neuron_atlas.core.records import NO_LABELS, AttributionGraph, NeuronLabels

LONGEST_TEXT = 60
"""Characters after which a neuron's text is cut."""


def to_legacy(
    graph: AttributionGraph, *, slug: str | None = None, scan: str | None = None, labels: NeuronLabels = NO_LABELS
) -> JsonObject:
    """The graph as a JSON-ready document. Arguments and errors as in `to_neuronpedia`."""
    rows = graph_rows(graph)
    top = str(1 + max((row.layer for row in rows.of_kind("neuron")), default=rows.n_layers - 1))
    nodes = [_node(row, rows, graph, labels, top) for row in rows.nodes]
    names = {row.node: _node_id(row, rows) for row in rows.nodes}
    return {
        "metadata": {
            **header(graph, rows, slug=slug, scan=scan),
            "target_position": graph.summary.position,
            "info": {"description": "MLP neurons that carried the answer.", "generator": generator()},
            "generation_settings": {
                "max_n_logits": len(rows.logits),
                "metric_value": graph.summary.goal_value,
                "target_position": graph.summary.position,
                "nodes_exceeded": graph.summary.is_trimmed,
            },
        },
        "qParams": {**write_arrangement(graph.arrangement, names), "linkType": "both"},
        "features": _features(nodes),
        "nodes": list[JsonValue](nodes),
        "links": [
            {"source": names[s], "target": names[t], "weight": w}
            for s, t, w in zip(rows.sources, rows.targets, rows.weights, strict=True)
        ],
        "nodes_exceeded": graph.summary.is_trimmed,
    }


def _node_id(row: NodeRow, rows: GraphRows) -> str:
    """As in Neuronpedia's form, but for logits."""
    return f"L_{row.token_id}_{row.position}" if row.kind == "logit" else node_id(row, rows.n_layers)


def _node(row: NodeRow, rows: GraphRows, graph: AttributionGraph, labels: NeuronLabels, top: str) -> JsonObject:
    common: JsonObject = {"node_id": _node_id(row, rows), "ctx_idx": row.position, "isLogit": row.kind == "logit"}
    own: JsonObject = {"influence_share": row.influence, **own_values(row)}
    match row.kind:
        case "embedding":
            return common | {
                "feature": row.token_id,
                "layer": "E",
                "feature_type": "embedding",
                "jsNodeId": f"E_{row.token_id}-{row.position}",
                "clerp": f"Token: {graph.summary.tokens[row.position]}",
                "influence": None,
                "activation": row.activation,
                **own,
            }
        case "neuron":
            return common | {
                "feature": row.neuron,
                "layer": str(row.layer),
                "feature_type": "mlp_neuron",
                "jsNodeId": f"{row.layer}_{row.neuron}-0",
                "clerp": row.text(labels)[:LONGEST_TEXT],
                "influence": row.relevance,
                "activation": row.activation,
                **own,
            }
        case "logit":
            logit = rows.logits[row.node]
            return common | {
                "feature": row.token_id,
                "layer": top,
                "feature_type": "logit",
                "jsNodeId": f"L_{row.token_id}-{row.position}",
                "clerp": f"{logit.token} (p={logit.probability:.4f})",
                "influence": None,
                "activation": row.activation,
                **logit_values(logit),
                **own,
            }


def _features(nodes: list[JsonObject]) -> list[JsonValue]:
    """Every feature once, in the order of the nodes."""
    unique: dict[str, JsonValue] = {}
    for node in nodes:
        key = f"{node['layer']}_{node['feature']}"
        unique[key] = {
            "featureId": key,
            "featureIndex": node["feature"],
            "layer": node["layer"],
            "clerp": node["clerp"],
            "feature_type": node["feature_type"],
        }
    return list(unique.values())
