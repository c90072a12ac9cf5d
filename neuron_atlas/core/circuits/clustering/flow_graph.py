"""The flow graph: neurons, and how much passes from one to another over all prompts.

An edge of `edge_stats` becomes a link when both its ends are neurons and enough distinct prompts show it. What a link weighs
is a named choice:

    abs_weight_sq   (mean |weight|)^2     how strongly the target reacts, however seldom; strong links favoured (the default)
    abs_weight      mean |weight|         the same without the favour
    abs_flow        n * mean |flow|       logits that passed along the edge in all prompts, whatever their sign

Why that default: docs/decisions/0005-strong-links-and-undirected-flow.md.

**Signs.** An edge that raises its target in some prompts and lowers it in others has an exciting and an inhibiting part:
(mean |weight| + mean weight) / 2 and (mean |weight| - mean weight) / 2, which add up to mean |weight|. `merged` takes both
together; `excitatory` and `inhibitory` leave the other part out; `layers` keeps both, in two layers that share their neurons.

**Hubs**, neurons linked to nearly everything, can glue unrelated modules together. `discount` divides every link by the square
root of its ends' strengths (what is left is the share of either end's traffic); `drop` leaves out neurons linked to more than
half of the others. `keep` changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

import polars as pl

from neuron_atlas.core.records import Tables
from neuron_atlas.errors import BadInput, Incomplete

WeightTransform: TypeAlias = Literal["abs_weight_sq", "abs_weight", "abs_flow"]
SignTreatment: TypeAlias = Literal["merged", "excitatory", "inhibitory", "layers"]
HubControl: TypeAlias = Literal["keep", "discount", "drop"]

HUB_SHARE = 0.5
"""A neuron linked to more than this share of the other neurons is a hub."""

_EXCITES = (pl.col("weight_abs_mean") + pl.col("weight_mean")) / 2
_INHIBITS = (pl.col("weight_abs_mean") - pl.col("weight_mean")) / 2


def _no_links() -> pl.DataFrame:
    return pl.DataFrame(schema={"source": pl.Int64, "target": pl.Int64, "weight": pl.Float64})


@dataclass(frozen=True)
class FlowGraph:
    """`neurons` has columns layer, neuron, sorted; a row's index is its node. `links` has columns source, target (nodes) and
    weight > 0, one row per pair, sorted. `inhibitory` are links of the same form that form a layer of their own; there are
    none unless signs are kept apart."""

    neurons: pl.DataFrame
    links: pl.DataFrame
    inhibitory: pl.DataFrame = field(default_factory=_no_links)

    @property
    def n_links(self) -> int:
        """Links of both layers."""
        return self.links.height + self.inhibitory.height


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
        "flow_mean",
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
    signs: SignTreatment = "merged",
    hubs: HubControl = "keep",
) -> FlowGraph:
    """Make the flow graph of `neuron_edges`: links seen in at least `min_count` distinct prompts, with weight above zero.

    Raises `BadInput` on an unknown transform, sign treatment or hub control.
    """
    _refuse_unknown("weight transform", transform, get_args(WeightTransform))
    _refuse_unknown("sign treatment", signs, get_args(SignTreatment))
    _refuse_unknown("hub control", hubs, get_args(HubControl))
    strength = {
        "merged": pl.col("weight_abs_mean"),
        "excitatory": _EXCITES,
        "inhibitory": _INHIBITS,
        "layers": _EXCITES,
    }
    seen = edges.filter(pl.col("n_prompts") >= min_count, pl.col("weight_abs_mean").is_finite())
    kept = _weighted(seen, strength[signs], transform)
    lowering = _weighted(seen, _INHIBITS, transform) if signs == "layers" else kept.clear()
    if hubs == "drop":
        crowd = _hubs(pl.concat([kept, lowering]))
        kept, lowering = _without(kept, crowd), _without(lowering, crowd)
    elif hubs == "discount":
        kept, lowering = _discounted(kept), _discounted(lowering)
    both = pl.concat([kept, lowering])
    sources = both.select(layer="source_layer", neuron="source")
    targets = both.select(layer="target_layer", neuron="target")
    neurons = pl.concat([sources, targets]).unique().sort("layer", "neuron")
    return FlowGraph(neurons, _links(kept, neurons), _links(lowering, neurons))


def _refuse_unknown(what: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise BadInput(f"unknown {what} {name!r}; expected one of {', '.join(known)}")


def _weighted(edges: pl.DataFrame, strength: pl.Expr, transform: WeightTransform) -> pl.DataFrame:
    """The edges whose `strength` (the part of mean |weight| that counts) gives a weight above zero, with that weight."""
    share = strength / pl.col("weight_abs_mean")
    weight = {
        "abs_weight_sq": strength**2,
        "abs_weight": strength,
        "abs_flow": pl.col("n") * pl.col("flow_abs_mean") * share,
    }
    return edges.with_columns(weight=weight[transform]).filter(pl.col("weight").is_finite(), pl.col("weight") > 0)


def _links(edges: pl.DataFrame, neurons: pl.DataFrame) -> pl.DataFrame:
    nodes = neurons.with_row_index("node").with_columns(pl.col("node").cast(pl.Int64))
    return (
        edges.join(nodes.rename({"node": "from"}), left_on=["source_layer", "source"], right_on=["layer", "neuron"])
        .join(nodes.rename({"node": "to"}), left_on=["target_layer", "target"], right_on=["layer", "neuron"])
        .select(source="from", target="to", weight="weight")
        .sort("source", "target")
    )


def _hubs(edges: pl.DataFrame) -> pl.DataFrame:
    """Neurons linked to more than HUB_SHARE of the others: columns layer, neuron."""
    pairs = edges.select("source_layer", "source", "target_layer", "target").unique()
    ends = pl.concat(
        [
            pairs.select(layer="source_layer", neuron="source"),
            pairs.select(layer="target_layer", neuron="target"),
        ]
    )
    degree = ends.group_by("layer", "neuron").len()
    return degree.filter(pl.col("len") > HUB_SHARE * max(degree.height - 1, 1)).select("layer", "neuron")


def _without(edges: pl.DataFrame, hubs: pl.DataFrame) -> pl.DataFrame:
    return edges.join(hubs, left_on=["source_layer", "source"], right_on=["layer", "neuron"], how="anti").join(
        hubs, left_on=["target_layer", "target"], right_on=["layer", "neuron"], how="anti"
    )


def _discounted(edges: pl.DataFrame) -> pl.DataFrame:
    """Divide each weight by sqrt(strength leaving its source * strength entering its target)."""
    leaving = pl.col("weight").sum().over("source_layer", "source")
    entering = pl.col("weight").sum().over("target_layer", "target")
    return edges.with_columns(weight=pl.col("weight") / (leaving * entering).sqrt())
