"""A document to a graph: this project's own, circuit-tracer's and Neuronpedia's, or the older form.

    type in the document                                     becomes
    cross layer transcoder, unexplored node, mlp_neuron      a neuron (for transcoders: a feature; the note says so)
    embedding, logit                                         the same
    anything with "error" in it                              part of its targets' `error`
    bias                                                     part of its targets' `bias`
    any other (lorsa, unknown …)                             part of its targets' `error`; the note counts them

A document is taken whole or refused whole, with one line that says why. What it does not state is computed from its links
(`missing_values.py`), and the note says so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neuron_atlas.core.attribution.exchange.node_ids import split_id
from neuron_atlas.core.attribution.exchange.own_metadata import read_own_block
from neuron_atlas.core.attribution.exchange.pins_and_groups import read_arrangement
from neuron_atlas.core.attribution.exchange.reading.missing_values import LinkValues, NodeValues, fill_missing
from neuron_atlas.core.attribution.exchange.reading.node_kinds import (
    HIGHEST_LAYER,
    PlacedLinks,
    SortedNodes,
    place_links,
    sort_nodes,
)
from neuron_atlas.core.attribution.exchange.schema import Document, Metadata, Node
from neuron_atlas.core.records import AttributionGraph, GraphSummary, Prompt
from neuron_atlas.core.tables import EDGES, NODES, TARGETS, Table
from neuron_atlas.errors import BadInput

_PROBABILITY = re.compile(r"\(p=([0-9.]{1,30}(?:e-?\d{1,3})?)\)")
_QUOTED = re.compile(r'"([^"]*)"|\'([^\']*)\'')
_RECOMPUTED = "the file lacks values that it was written with; they are computed from its links"


def read_document(document: Document, *, n_layers: int | None = None) -> AttributionGraph:
    """The graph of a document. `n_layers` is the model's number of layers where the document does not say (the older form;
    without it, one more than the highest layer present).

    Raises `BadInput` for repeated ids, links without both ends, links that do not go upwards, positions outside the prompt,
    embeddings that are not one per token, logits at several positions, or a format of ours that is newer than this reader.
    """
    own = read_own_block(document.metadata.neuron_atlas)
    nodes = sort_nodes(document)
    links = place_links(document, nodes)
    layers = _layer_count(nodes, n_layers if own is None else own.n_layers)
    values = _stated_values(document, nodes, links, layers)
    incomplete = any(bool(np.isnan(column).any()) for column in values.columns)
    shares = fill_missing(values, LinkValues(links.source, links.target, links.weight))
    if own is not None:
        prompt, summary = own.to_prompt(), own.to_summary(document.metadata.prompt_tokens)
        if incomplete:
            summary = replace(summary, note="; ".join(filter(None, (summary.note, _RECOMPUTED))))
    else:
        prompt = Prompt(document.metadata.prompt)
        summary = replace(
            _foreign_summary(document, nodes, links),
            goal_value=float(values.goal_weight @ values.activation),
            completeness=shares.completeness,
            replacement=shares.replacement,
        )
    edges = pl.DataFrame({"source": links.source, "target": links.target, "weight": links.weight})
    return AttributionGraph(
        prompt=prompt,
        nodes=_typed(_node_frame(nodes, values), NODES),
        edges=_typed(edges, EDGES).sort("target", "source"),
        logits=_typed(_logit_frame(nodes, values), TARGETS),
        summary=summary,
        arrangement=read_arrangement(document.q_params, [node.node_id for node in nodes.ordered]),
    )


def _layer_count(nodes: SortedNodes, stated: int | None) -> int:
    """Layers of the model: as stated, else from the logits' ids (`{layers+1}_…`), else from the highest layer present."""
    highest = max((layer for layer, *_ in nodes.neurons), default=-1)
    parts = split_id(nodes.logits[0].node_id)
    if stated is not None:
        count = stated
    elif parts is not None and parts[0].isdigit():
        count = int(parts[0]) - 1
    else:
        count = highest + 1
    if not highest < count <= HIGHEST_LAYER:
        raise BadInput(f"neurons up to layer {highest}, but the model is said to have {count} layers")
    return count


def _stated_values(document: Document, nodes: SortedNodes, links: PlacedLinks, n_layers: int) -> NodeValues:
    """What the document says of its nodes; NaN where it says nothing."""
    ordered, first_logit = nodes.ordered, len(nodes.embeddings) + len(nodes.neurons)
    is_legacy = document.form == "legacy"
    layers = [-1] * len(nodes.embeddings) + [layer for layer, *_ in nodes.neurons] + [n_layers] * len(nodes.logits)
    weights = [0.0] * first_logit + [1.0 if node.goal_weight is None else node.goal_weight for node in nodes.logits]
    # In the older form `influence` is the signed relevance.
    relevance = [_first(n.relevance, n.influence if is_legacy else None) for n in ordered]
    influence = [n.influence_share if is_legacy else n.influence for n in ordered]
    activation = [_first(n.activation, n.logit) for n in ordered]
    return NodeValues(
        layer=np.array(layers, dtype=np.int64),
        goal_weight=np.array(weights),
        activation=_array(activation),
        relevance=_array(relevance),
        direct=_array(n.direct for n in ordered),
        influence=_array(influence),
        bias=_array(_first(n.bias, b) for n, b in zip(ordered, links.bias, strict=True)),
        error=_array(_first(n.error, e) for n, e in zip(ordered, links.error, strict=True)),
    )


def _node_frame(nodes: SortedNodes, values: NodeValues) -> pl.DataFrame:
    n_tokens, n_neurons, n_logits = len(nodes.embeddings), len(nodes.neurons), len(nodes.logits)
    tokens = [nodes.token_ids[node.node_id] for node in (*nodes.embeddings, *nodes.logits)]
    return pl.DataFrame(
        {
            "node": np.arange(n_tokens + n_neurons + n_logits),
            "kind": ["embedding"] * n_tokens + ["neuron"] * n_neurons + ["logit"] * n_logits,
            "layer": values.layer,
            "position": [node.ctx_idx for node in nodes.ordered],
            "neuron": [None] * n_tokens + [neuron for _, _, neuron, _ in nodes.neurons] + [None] * n_logits,
            "token_id": tokens[:n_tokens] + [None] * n_neurons + tokens[n_tokens:],
            "activation": values.activation,
            "relevance": values.relevance,
            "direct": values.direct,
            "influence": values.influence,
            "bias": values.bias,
            "error": values.error,
        },
        schema_overrides={"neuron": pl.Int64, "token_id": pl.Int64},
    )


def _logit_frame(nodes: SortedNodes, values: NodeValues) -> pl.DataFrame:
    first = len(nodes.embeddings) + len(nodes.neurons)
    return pl.DataFrame(
        {
            "node": np.arange(first, first + len(nodes.logits)),
            "token_id": [nodes.token_ids[node.node_id] for node in nodes.logits],
            "token": [_token(node) for node in nodes.logits],
            "logit": [
                value if node.logit is None else node.logit
                for node, value in zip(nodes.logits, values.activation[first:].tolist(), strict=True)
            ],
            "probability": [_probability(node) for node in nodes.logits],
            "goal_weight": values.goal_weight[first:],
        }
    )


def _typed(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """The columns of a table, without the prompt's id. Raises `BadInput` where a number does not fit."""
    try:
        typed = frame.select(pl.col(c.name).cast(c.dtype) for c in table.columns if c.name != "prompt_id")
    except pl.exceptions.InvalidOperationError as error:
        raise BadInput(f"a number does not fit table {table.name!r}: {' '.join(str(error).split())[:200]}") from error
    for name, dtype in typed.schema.items():
        if dtype.is_float() and not typed[name].is_finite().all():
            raise BadInput(f"{name} of a node or link is beyond 32-bit range, or not a number")
    return typed


def _foreign_summary(document: Document, nodes: SortedNodes, links: PlacedLinks) -> GraphSummary:
    """What is known of a graph that others made; scores are filled in later, unknown ones are NaN."""
    metadata = document.metadata
    notes = [f"imported from the {document.form} form; what it does not state is computed from its links"]
    features = _feature_source(metadata)
    if features:
        notes.append(f"its nodes are features of {features}, not MLP neurons")
    notes += [f"{count} nodes of type {kind!r} are counted as error" for kind, count in sorted(nodes.folded.items())]
    if links.into_folded:
        notes.append(f"{links.into_folded} links into nodes that are not kept are left out")
    return GraphSummary(
        token_ids=tuple(nodes.token_ids[node.node_id] for node in nodes.embeddings),
        tokens=tuple(metadata.prompt_tokens),
        position=nodes.logits[0].ctx_idx,
        goal="top_k",
        goal_value=math.nan,
        rules="unknown",
        dtype="unknown",
        is_trimmed=document.is_trimmed,
        completeness=math.nan,
        replacement=math.nan,
        conservation_error=math.nan,
        kept_edge_share=math.nan,
        note="; ".join(notes),
        model_id=metadata.scan,
    )


def _feature_source(metadata: Metadata) -> str:
    """The transcoders whose features the nodes are; empty for neurons."""
    named = metadata.feature_details.neuronpedia_source_set or metadata.info.transcoder_set
    if named:
        return named[:200]
    return "transcoders" if metadata.transcoder_list else ""


def _token(node: Node) -> str:
    """The token of a logit: as stated, else between the first quotes of its text, else the text before its probability."""
    if node.token is not None:
        return node.token
    quoted = _QUOTED.search(node.clerp)
    if quoted is not None:
        return quoted[1] if quoted[1] is not None else quoted[2]
    return _PROBABILITY.sub("", node.clerp).removeprefix("Logit: ").removesuffix(" ")


def _probability(node: Node) -> float:
    """Of a logit: as stated, else from its text, else 0."""
    stated = _PROBABILITY.search(node.clerp)
    value = _first(node.token_prob, float(stated[1]) if stated is not None and stated[1].count(".") <= 1 else None)
    return 0.0 if value is None else value


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _array(values: Iterable[float | None]) -> NDArray[np.float64]:
    """Numbers, NaN where there are none."""
    return np.array([math.nan if value is None else value for value in values], np.float64)
