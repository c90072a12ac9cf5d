"""The flow graph: neurons, and how much passes from one to another over all prompts.

An edge of `edge_stats` becomes a link when both its ends are neurons and enough distinct prompts show it. What a link weighs
is a named choice:

    abs_weight_sq   (mean |weight|)^2     how strongly the target reacts, however seldom; strong links favoured (the default)
    abs_weight      mean |weight|         the same without the favour
    abs_flow        n * mean |flow|       logits that passed along the edge in all prompts, whatever their sign
    excitatory      max(mean weight, 0)   only what raises the target
    inhibitory      max(-mean weight, 0)  only what lowers it

Why that default: docs/decisions/0005-strong-links-and-undirected-flow.md.

**Hubs**, neurons linked to nearly everything, can glue unrelated modules together. `discount` divides every link by the square
root of its ends' strengths (what is left is the share of either end's traffic); `drop` leaves out neurons linked to more than
half of the others. `keep` changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import polars as pl

from neuron_atlas.core.records import Tables
from neuron_atlas.errors import BadInput, Incomplete

WeightTransform: TypeAlias = Literal["abs_weight_sq", "abs_weight", "abs_flow", "excitatory", "inhibitory"]
HubControl: TypeAlias = Literal["keep", "discount", "drop"]

HUB_SHARE = 0.5
"""A neuron linked to more than this share of the other neurons is a hub."""

_WEIGHTS: dict[WeightTransform, pl.Expr] = {
    "abs_weight_sq": pl.col("weight_abs_mean") ** 2,
    "abs_weight": pl.col("weight_abs_mean"),
    "abs_flow": pl.col("n") * pl.col("flow_abs_mean"),
    "excitatory": pl.col("weight_mean").clip(0.0),
    "inhibitory": (-pl.col("weight_mean")).clip(0.0),
}


@dataclass(frozen=True)
class FlowGraph:
    """`neurons` has columns layer, neuron, sorted; a row's index is its node. `links` has columns source, target (nodes) and
    weight > 0, one row per pair, sorted."""

    neurons: pl.DataFrame
    links: pl.DataFrame


def neuron_edges(stats: Tables) -> pl.DataFrame:
    """The rows of `edge_stats` between two neurons, in key order, numbers as Float64.

    Raises `Incomplete` when the table is not among `stats`.
    """
    if "edge_stats" not in stats:
        raise Incomplete("clusters need table 'edge_stats', which was not given; materialize edge_stats first")
    numbers = [
        "weight_mean",
        "weight_abs_mean",
        "weight_std",
        "flow_abs_mean",
    ]
    return (
        stats["edge_stats"]
        .filter(pl.col("source_kind") == "neuron", pl.col("target_kind") == "neuron")
        .select(
            "source_layer",
            "source",
            "target_layer",
            "target",
            pl.col("n", "n_prompts").cast(pl.Float64),
            *(pl.col(name).cast(pl.Float64) for name in numbers),
        )
        .sort("source_layer", "source", "target_layer", "target")
        .collect()
    )


def flow_graph(
    edges: pl.DataFrame,
    *,
    min_count: int = 2,
    transform: WeightTransform = "abs_weight_sq",
    hubs: HubControl = "keep",
) -> FlowGraph:
    """Make the flow graph of `neuron_edges`: links seen in at least `min_count` distinct prompts, with weight above zero.

    Raises `BadInput` on an unknown transform or hub control.
    """
    if transform not in _WEIGHTS:
        raise BadInput(f"unknown weight transform {transform!r}; expected one of {', '.join(_WEIGHTS)}")
    if hubs not in get_args(HubControl):
        raise BadInput(f"unknown hub control {hubs!r}; expected one of {', '.join(get_args(HubControl))}")
    kept = (
        edges.filter(pl.col("n_prompts") >= min_count)
        .with_columns(weight=_WEIGHTS[transform])
        .filter(pl.col("weight").is_finite(), pl.col("weight") > 0)
    )
    if hubs == "drop":
        kept = _without_hubs(kept)
    elif hubs == "discount":
        kept = _discounted(kept)
    sources = kept.select(layer="source_layer", neuron="source")
    targets = kept.select(layer="target_layer", neuron="target")
    neurons = pl.concat([sources, targets]).unique().sort("layer", "neuron")
    nodes = neurons.with_row_index("node").with_columns(pl.col("node").cast(pl.Int64))
    links = (
        kept.join(nodes.rename({"node": "from"}), left_on=["source_layer", "source"], right_on=["layer", "neuron"])
        .join(nodes.rename({"node": "to"}), left_on=["target_layer", "target"], right_on=["layer", "neuron"])
        .select(source="from", target="to", weight="weight")
        .sort("source", "target")
    )
    return FlowGraph(neurons, links)


def _without_hubs(edges: pl.DataFrame) -> pl.DataFrame:
    """Leave out neurons linked to more than HUB_SHARE of the others."""
    ends = pl.concat(
        [
            edges.select(layer="source_layer", neuron="source"),
            edges.select(layer="target_layer", neuron="target"),
        ]
    )
    degree = ends.group_by("layer", "neuron").len()
    hubs = degree.filter(pl.col("len") > HUB_SHARE * max(degree.height - 1, 1))
    return edges.join(hubs, left_on=["source_layer", "source"], right_on=["layer", "neuron"], how="anti").join(
        hubs, left_on=["target_layer", "target"], right_on=["layer", "neuron"], how="anti"
    )


def _discounted(edges: pl.DataFrame) -> pl.DataFrame:
    """Divide each weight by sqrt(strength leaving its source * strength entering its target)."""
    leaving = pl.col("weight").sum().over("source_layer", "source")
    entering = pl.col("weight").sum().over("target_layer", "target")
    return edges.with_columns(weight=pl.col("weight") / (leaving * entering).sqrt())
