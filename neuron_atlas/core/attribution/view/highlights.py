"""The strongest neurons and links of a graph, as small frames to print."""

from __future__ import annotations

import polars as pl

from neuron_atlas.core.attribution.effects.edge_flow import edge_flows
from neuron_atlas.core.records import NO_LABELS, AttributionGraph, NeuronLabels


def strongest_neurons(graph: AttributionGraph, limit: int, *, labels: NeuronLabels = NO_LABELS) -> pl.DataFrame:
    """The neuron instances of largest |relevance|: neuron_id, position, token, activation, relevance (logits), share (relevance
    over the goal's value), direct (logits), label (of the activation's sign; missing where there is none)."""
    rows = graph.nodes.filter(pl.col("kind") == "neuron").sort(
        pl.col("relevance").abs(), "node", descending=[True, False]
    )
    return _described(rows.head(limit), graph, labels).select(
        "neuron_id",
        "position",
        "token",
        "activation",
        "relevance",
        (pl.col("relevance") / graph.summary.goal_value).alias("share"),
        "direct",
        "label",
    )


def strongest_links(graph: AttributionGraph, limit: int, *, labels: NeuronLabels = NO_LABELS) -> pl.DataFrame:
    """The links of largest |flow|: source and target as text, weight (units of the target's value), flow (logits), and the ends'
    labels."""
    strongest = (
        edge_flows(graph).sort(pl.col("flow").abs(), "target", "source", descending=[True, False, False]).head(limit)
    )
    ends = strongest["source"].append(strongest["target"]).unique().implode()
    described = _described(graph.nodes.filter(pl.col("node").is_in(ends)), graph, labels)
    for side in ("source", "target"):
        names = described.select(
            pl.col("node").alias(side), pl.col("words").alias(f"{side}_words"), pl.col("label").alias(f"{side}_label")
        )
        strongest = strongest.join(names, on=side, how="left", maintain_order="left")
    return strongest.select(
        pl.col("source_words").alias("source"),
        pl.col("target_words").alias("target"),
        "weight",
        "flow",
        "source_label",
        "target_label",
    )


def _described(nodes: pl.DataFrame, graph: AttributionGraph, labels: NeuronLabels) -> pl.DataFrame:
    """Nodes with `neuron_id`, `token` (at their position), `words` (`L3/N7 at "is" (8)`, `"is" (8)` or `answer " Salem"`) and
    `label`, in the order given."""
    named = pl.DataFrame(
        [(n.layer, n.neuron, polarity, label) for (n, polarity), label in labels.items()],
        schema={"layer": pl.Int16, "neuron": pl.Int32, "polarity": pl.Int8, "label": pl.String},
        orient="row",
    )
    tokens = pl.DataFrame({"token": list(graph.summary.tokens)}, schema={"token": pl.String}).with_row_index("position")
    place = pl.format('"{}" ({})', "token", "position")
    return (
        nodes.with_columns(polarity=pl.when(pl.col("activation") < 0).then(-1).otherwise(1).cast(pl.Int8))
        .join(named, on=("layer", "neuron", "polarity"), how="left", maintain_order="left")
        .join(tokens.cast({"position": pl.Int32}), on="position", how="left", maintain_order="left")
        .join(graph.logits.select("node", answer="token"), on="node", how="left", maintain_order="left")
        .with_columns(neuron_id=pl.when(pl.col("kind") == "neuron").then(pl.format("L{}/N{}", "layer", "neuron")))
        .with_columns(
            words=pl.when(pl.col("kind") == "neuron")
            .then(pl.format("{} at {}", "neuron_id", place))
            .when(pl.col("kind") == "logit")
            .then(pl.format('answer "{}"', "answer"))
            .otherwise(place)
        )
    )
