"""A graph as Neuronpedia's attribution-graph JSON: its schema (1.0.0), and what its viewer needs without saying so.

What the viewer needs, beyond the schema (each is a rule of `checks.py`):
- a logit's text holds `(p=<number>)`, and the token stands between its first two double quotes;
- some node below the logits has a numeric layer of 1 or more;
- neurons come first, then errors, embeddings and logits; ids are unique; every link has both ends.

Choices: neurons are exported as `cross layer transcoder`, the type that the viewer's scores count, with `node_kind` saying
what they are. What flows into a node from everything not kept (its `error`) becomes a link from an error node one layer
below it at its position, so that the viewer's replacement and completeness scores count it. `schema_version` is left out:
with it the viewer would look the neurons up among Neuronpedia's own features, which they are not.
"""

from __future__ import annotations

import math
from collections import defaultdict
from importlib.metadata import version

from neuron_atlas.core.attribution.exchange import node_ids
from neuron_atlas.core.attribution.exchange.graph_rows import GraphRows, LogitRow, NodeRow, graph_rows
from neuron_atlas.core.attribution.exchange.own_metadata import own_block
from neuron_atlas.core.attribution.exchange.pins_and_groups import write_arrangement
from neuron_atlas.core.attribution.exchange.slugs import checked_slug, default_slug, scan_name
from neuron_atlas.core.json_types import JsonObject, JsonValue
from neuron_atlas.core.records import NO_LABELS, AttributionGraph, GraphSummary, NeuronLabels

FEATURE_TYPE = "cross layer transcoder"
ERROR_TYPE = "mlp reconstruction error"
NODE_THRESHOLD = 0.8
"""Where the viewer's slider starts: the nodes that hold this share of all influence are shown."""


def to_neuronpedia(
    graph: AttributionGraph,
    *,
    slug: str | None = None,
    scan: str | None = None,
    labels: NeuronLabels = NO_LABELS,
    feature_type: str = FEATURE_TYPE,
    feature_json_base_url: str | None = None,
) -> JsonObject:
    """The graph as a JSON-ready document.

    `slug` names the graph (default: from the prompt), `scan` the model (default: from its id). `labels` become node texts;
    `feature_type` is the type written for neurons; `feature_json_base_url` is where the viewer finds `{url}/{feature}.json`.
    Raises `BadInput` for a slug that is not safe as a file name, or a graph with numbers that JSON cannot hold.
    """
    rows = graph_rows(graph)
    names = {row.node: node_id(row, rows.n_layers) for row in rows.nodes}
    errors = _error_nodes(rows)
    nodes = [
        *(_neuron(row, labels, feature_type) for row in rows.of_kind("neuron")),
        *(_error(layer, position) for layer, position in errors),
        *(_embedding(row, graph.summary) for row in rows.of_kind("embedding")),
        *(_logit(row, rows) for row in rows.of_kind("logit")),
    ]
    links: list[JsonValue] = []
    for source, target, weight in zip(rows.sources, rows.targets, rows.weights, strict=True):
        links.append({"source": names[source], "target": names[target], "weight": weight})
    for (layer, position), targets in errors.items():
        source = node_ids.error_id(layer, position)
        links.extend({"source": source, "target": names[row.node], "weight": row.error} for row in targets if row.error)
    return {
        "metadata": {
            **header(graph, rows, slug=slug, scan=scan),
            **_viewer_settings(graph, rows, feature_json_base_url),
        },
        "qParams": {**write_arrangement(graph.arrangement, names), "linkType": "both", "clickedId": "", "sg_pos": ""},
        "nodes": list[JsonValue](nodes),
        "links": links,
    }


def header(graph: AttributionGraph, rows: GraphRows, *, slug: str | None, scan: str | None) -> JsonObject:
    """The part of `metadata` that every form has, with the block of our own."""
    return {
        "slug": checked_slug(default_slug(graph.prompt) if slug is None else slug),
        "scan": checked_slug(scan_name(graph.summary.model_id) if scan is None else scan),
        "prompt_tokens": list[JsonValue](graph.summary.tokens),
        "prompt": graph.prompt.text,
        "node_threshold": NODE_THRESHOLD,
        "neuron_atlas": own_block(graph, rows.n_layers),
    }


def own_values(row: NodeRow) -> JsonObject:
    """Extra keys of every node: what the format has no field for (table `nodes` says what each means)."""
    return {"relevance": row.relevance, "direct": row.direct, "bias": row.bias, "error": row.error}


def logit_values(logit: LogitRow) -> JsonObject:
    """Extra keys of a logit node."""
    return {
        "token": logit.token,
        "token_prob": logit.probability,
        "logit": logit.logit,
        "goal_weight": logit.goal_weight,
    }


def quoted(token: str) -> str:
    """A token between double quotes, with none inside and control characters visible."""
    inner = token.replace('"', "”")
    return '"' + "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in inner) + '"'


def generator() -> JsonObject:
    """Who wrote the document."""
    return {"name": "neuron_atlas", "version": version("neuron_atlas")}


def _viewer_settings(graph: AttributionGraph, rows: GraphRows, base_url: str | None) -> JsonObject:
    summary = graph.summary
    settings: JsonObject = {
        "max_n_logits": len(rows.logits),
        "target_position": summary.position,
        "rules": summary.rules,
    }
    if summary.options is not None:
        options = summary.options
        settings |= {"max_feature_nodes": options.max_nodes, "tau": options.tau, "edge_tau": options.edge_tau}
    return {
        "transcoder_list": [],
        "feature_details": {} if base_url is None else {"feature_json_base_url": base_url},
        "info": {
            "description": f"MLP neurons that carried the answer (rules {summary.rules or 'unknown'}). Links are direct effects "
            "with attention patterns frozen; error nodes hold what is not shown.",
            "generator": generator(),
        },
        "generation_settings": settings,
        "completeness_score": _finite(summary.completeness),
        "replacement_score": _finite(summary.replacement),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _error_nodes(rows: GraphRows) -> dict[tuple[int, int], list[NodeRow]]:
    """(layer, position) of every error node, with the targets it flows into.

    The logits' error node is always there: it gives a small graph the numeric layer that the viewer looks for.
    """
    found: defaultdict[tuple[int, int], list[NodeRow]] = defaultdict(list)
    for row in rows.nodes:
        if row.kind == "logit":
            found[max(row.layer - 1, 1), row.position].append(row)
        elif row.kind == "neuron" and row.error:
            found[max(row.layer - 1, 0), row.position].append(row)
    return dict(sorted(found.items()))


def node_id(row: NodeRow, n_layers: int) -> str:
    """The id of a node in a model of so many layers."""
    match row.kind:
        case "embedding":
            return node_ids.embedding_id(row.token_id, row.position)
        case "neuron":
            return node_ids.neuron_id(row.layer, row.neuron, row.position)
        case "logit":
            return node_ids.logit_id(n_layers, row.token_id, row.position)


def _neuron(row: NodeRow, labels: NeuronLabels, feature_type: str) -> JsonObject:
    return {
        "node_id": node_ids.neuron_id(row.layer, row.neuron, row.position),
        "feature": node_ids.pair(row.layer, row.neuron),
        "layer": str(row.layer),
        "ctx_idx": row.position,
        "feature_type": feature_type,
        "jsNodeId": f"{row.layer}_{row.neuron}-0",
        "clerp": row.text(labels),
        "influence": row.influence,
        "activation": row.activation,
        "node_kind": "mlp_neuron",
        "polarity": row.polarity,
        **own_values(row),
    }


def _embedding(row: NodeRow, summary: GraphSummary) -> JsonObject:
    return {
        "node_id": node_ids.embedding_id(row.token_id, row.position),
        "feature": row.position,
        "layer": "E",
        "ctx_idx": row.position,
        "feature_type": "embedding",
        "jsNodeId": f"E_{row.token_id}-{row.position}",
        "clerp": f"Emb: {quoted(summary.tokens[row.position])}",
        "influence": row.influence,
        "activation": row.activation,
        "node_kind": "embedding",
        **own_values(row),
    }


def _logit(row: NodeRow, rows: GraphRows) -> JsonObject:
    logit = rows.logits[row.node]
    return {
        "node_id": node_ids.logit_id(rows.n_layers, row.token_id, row.position),
        "feature": row.token_id,
        "layer": str(rows.n_layers + 1),
        "ctx_idx": row.position,
        "feature_type": "logit",
        "jsNodeId": f"L_{row.token_id}-{row.position}",
        "clerp": f"Output {quoted(logit.token)} (p={logit.probability:.3f})",
        "influence": row.influence,
        "activation": row.activation,
        "is_target_logit": row.node == min(rows.logits),
        "node_kind": "logit",
        **logit_values(logit),
        **own_values(row),
    }


def _error(layer: int, position: int) -> JsonObject:
    return {
        "node_id": node_ids.error_id(layer, position),
        "feature": -1,
        "layer": str(layer),
        "ctx_idx": position,
        "feature_type": ERROR_TYPE,
        "jsNodeId": f"{layer}_-1-{position}",
        "clerp": "what is not shown",
        "influence": None,
        "activation": None,
        "node_kind": "error",
    }
