"""Two graphs compared: what they share, what only one has, and how similar they are.

Things are the same when their keys are: a neuron by (layer, neuron, aligned position), a token by its aligned position, an
answer by its text, a link by its two ends. A neuron at two positions is two instances and never overwrites itself. Similarities
are between 0 and 1:

    neurons            shared neuron instances / all of either graph (Jaccard)
    neurons_weighted   Σ min |relevance| / Σ max |relevance| over all instances, 0 where the signs differ
    links              shared links / all (Jaccard)
    links_weighted     Σ min |flow| / Σ max |flow| over all links, 0 where the signs differ
    roles              mean likeness of shared instances: the cosine of their flows in and out in either graph, 0 if below
    modules            mean likeness of matched modules, over the larger number of modules

The likeness of two modules is the mean of two overlaps: of their members (Jaccard), and of their places (Σ min of the shares of
|relevance| by layer, aligned position and sign). The second recognizes modules that do the same at the same places with other
neurons, as happens when two prompts have different answers. Modules are matched one to one, the most similar first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from neuron_atlas.core.attribution.effects.edge_flow import edge_flows
from neuron_atlas.core.circuits.analysis.comparison.alignment import Alignment, aligned_positions
from neuron_atlas.core.circuits.analysis.modules.graph_modules import GraphModules
from neuron_atlas.core.records import AttributionGraph

MIN_MATCH = 0.05
"""Least likeness of two modules that are matched."""


@dataclass(frozen=True)
class Comparison:
    """Graphs a and b compared.

    `similarities` as defined above (None where neither graph has such a thing). `neurons`: key, layer, neuron, position_a,
    position_b, token, relevance_a, relevance_b, difference (b - a, logits; what is missing counts 0), found (both | a | b).
    `links`: source, target (keys), flow_a, flow_b, difference, found. `answers`: the same for the links into answers alone, summed
    by source: source, flow_a, flow_b, difference. `modules`: module_a, module_b (missing without match), likeness, members,
    places (overlaps). The largest |difference| first.
    """

    by: Alignment
    similarities: Mapping[str, float | None]
    neurons: pl.DataFrame
    links: pl.DataFrame
    answers: pl.DataFrame
    modules: pl.DataFrame


def compare_graphs(
    a: AttributionGraph,
    b: AttributionGraph,
    modules_a: GraphModules,
    modules_b: GraphModules,
    *,
    by: Alignment = "position",
) -> Comparison:
    """Compare two graphs with their modules (see `modules/graph_modules.py`)."""
    named_a, named_b = _both_keyed(a, b, by)
    neurons = _paired_neurons(named_a, named_b)
    flows_a, flows_b = _keyed_links(a, named_a), _keyed_links(b, named_b)
    links = _paired(flows_a, flows_b, on=["source", "target"], value="flow")
    modules = match_modules(_module_members(modules_a, named_a), _module_members(modules_b, named_b))
    n_modules = max(modules_a.count, modules_b.count)
    return Comparison(
        by=by,
        similarities={
            "neurons": _jaccard(neurons),
            "neurons_weighted": _weighted(neurons, "relevance"),
            "links": _jaccard(links),
            "links_weighted": _weighted(links, "flow"),
            "roles": _roles(flows_a, flows_b, neurons),
            "modules": float(modules["likeness"].fill_null(0.0).to_numpy().sum()) / n_modules if n_modules else None,
        },
        neurons=neurons,
        links=links,
        answers=_into_answers(links),
        modules=modules,
    )


def match_instances(
    a: AttributionGraph,
    b: AttributionGraph,
    modules_a: GraphModules,
    modules_b: GraphModules,
    *,
    by: Alignment = "position",
) -> pl.DataFrame:
    """The modules of two graphs matched, as in `Comparison.modules`."""
    named_a, named_b = _both_keyed(a, b, by)
    return match_modules(_module_members(modules_a, named_a), _module_members(modules_b, named_b))


def _both_keyed(a: AttributionGraph, b: AttributionGraph, by: Alignment) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The nodes of both graphs with keys in a's positions."""
    places = aligned_positions(a.summary.tokens, b.summary.tokens, by=by)
    return _keyed(a, {at: str(at) for at in range(len(a.summary.tokens))}), _keyed(b, _names(b, places))


def match_modules(a: pl.DataFrame, b: pl.DataFrame) -> pl.DataFrame:
    """Match modules one to one, the most similar first (columns as in `Comparison.modules`, unmatched ones last).

    `a` and `b`: module, key, layer, place (text of the aligned position), relevance.
    """
    sizes = [frame.group_by("module").agg(size=pl.len()) for frame in (a, b)]
    shared = a.select("key", module_a="module").join(b.select("key", module_b="module"), on="key")
    members = (
        shared.group_by("module_a", "module_b")
        .agg(both=pl.len())
        .join(sizes[0].rename({"module": "module_a", "size": "size_a"}), on="module_a")
        .join(sizes[1].rename({"module": "module_b", "size": "size_b"}), on="module_b")
        .select("module_a", "module_b", members=pl.col("both") / (pl.col("size_a") + pl.col("size_b") - pl.col("both")))
    )
    at = ["layer", "place", "sign"]
    places = (
        _shares(a)
        .rename({"module": "module_a", "share": "share_a"})
        .join(_shares(b).rename({"module": "module_b", "share": "share_b"}), on=at)
        .group_by("module_a", "module_b")
        .agg(places=pl.min_horizontal("share_a", "share_b").sort().sum())
    )
    pairs = (
        places.join(members, on=["module_a", "module_b"], how="full", coalesce=True)
        .fill_null(0.0)
        .with_columns(likeness=(pl.col("members") + pl.col("places")) / 2)
        .filter(pl.col("likeness") >= MIN_MATCH)
        .sort(pl.col("likeness").round(9), "module_a", "module_b", descending=[True, False, False])
    )
    rows: list[tuple[int | None, int | None, float | None, float | None, float | None]] = []
    left_a, left_b = set(sizes[0]["module"].to_list()), set(sizes[1]["module"].to_list())
    for one, other, likeness, both, place in pairs.select(
        "module_a", "module_b", "likeness", "members", "places"
    ).iter_rows():
        if one in left_a and other in left_b:
            left_a.remove(one)
            left_b.remove(other)
            rows.append((one, other, likeness, both, place))
    rows += [(one, None, None, None, None) for one in sorted(left_a)]
    rows += [(None, other, None, None, None) for other in sorted(left_b)]
    schema = {
        "module_a": pl.Int32, "module_b": pl.Int32, "likeness": pl.Float64, "members": pl.Float64, "places": pl.Float64
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row")


def _shares(members: pl.DataFrame) -> pl.DataFrame:
    """Share (0..1) of every module's |relevance| by layer, place and sign."""
    size = pl.col("relevance").abs().cast(pl.Float64)
    return (
        members.with_columns(sign=pl.col("relevance") >= 0)
        .group_by("module", "layer", "place", "sign")
        .agg(share=size.sort().sum())
        .with_columns((pl.col("share") / pl.col("share").sum().over("module")).fill_nan(0.0))
    )


def _names(b: AttributionGraph, places: Mapping[int, int]) -> dict[int, str]:
    """The aligned place of every position of b, in a's counting; `b7` for one without partner."""
    back = {theirs: mine for mine, theirs in places.items()}
    return {at: str(back[at]) if at in back else f"b{at}" for at in range(len(b.summary.tokens))}


def _keyed(graph: AttributionGraph, places: Mapping[int, str]) -> pl.DataFrame:
    """The nodes with `key` (`L1/N2@3`, `token 3`, `answer  Salem`), `place`, and the token there."""
    spots = pl.DataFrame(
        {"position": list(places), "place": list(places.values()), "token": list(graph.summary.tokens)},
        schema={"position": pl.Int32, "place": pl.String, "token": pl.String},
    )
    return (
        graph.nodes.join(spots, on="position", how="left", maintain_order="left")
        .join(graph.logits.select("node", answer="token"), on="node", how="left", maintain_order="left")
        .with_columns(
            key=pl.when(pl.col("kind") == "neuron")
            .then(pl.format("L{}/N{}@{}", "layer", "neuron", "place"))
            .when(pl.col("kind") == "embedding")
            .then(pl.format("token {}", "place"))
            .otherwise(pl.format("answer {}", "answer"))
        )
    )


def _keyed_links(graph: AttributionGraph, named: pl.DataFrame) -> pl.DataFrame:
    keys = named.select("node", "key")
    return (
        edge_flows(graph)
        .join(keys.rename({"node": "source", "key": "from"}), on="source")
        .join(keys.rename({"node": "target", "key": "to"}), on="target")
        .select(source="from", target="to", flow=pl.col("flow").cast(pl.Float64))
    )


def _paired_neurons(a: pl.DataFrame, b: pl.DataFrame) -> pl.DataFrame:
    columns = ["key", "layer", "neuron", "position", "token", "relevance"]
    sides = [
        frame.filter(pl.col("kind") == "neuron").select(columns).with_columns(pl.col("relevance").cast(pl.Float64))
        for frame in (a, b)
    ]
    return (
        _paired(*sides, on=["key"], value="relevance")
        .with_columns(layer=pl.coalesce("layer", "layer_right"), neuron=pl.coalesce("neuron", "neuron_right"))
        .with_columns(token=pl.coalesce("token", "token_right"))
        .select("key", "layer", "neuron", pl.col("position").alias("position_a"), pl.col("position_right").alias("position_b"),
                "token", "relevance_a", "relevance_b", "difference", "found")
    )  # fmt: skip


def _paired(a: pl.DataFrame, b: pl.DataFrame, *, on: list[str], value: str) -> pl.DataFrame:
    """Rows of both by key, with the value of either (missing where there is none), their difference and where it was found."""
    first, second = f"{value}_a", f"{value}_b"
    return (
        a.rename({value: first})
        .join(b.rename({value: second}), on=on, how="full", coalesce=True)
        .with_columns(
            difference=pl.col(second).fill_null(0.0) - pl.col(first).fill_null(0.0),
            found=pl.when(pl.col(second).is_null())
            .then(pl.lit("a"))
            .when(pl.col(first).is_null())
            .then(pl.lit("b"))
            .otherwise(pl.lit("both")),
        )
        .sort(pl.col("difference").abs().round(9), *on, descending=[True, *(False for _ in on)])
    )


def _into_answers(links: pl.DataFrame) -> pl.DataFrame:
    """What every source sends to answers: source, flow_a, flow_b, difference."""
    return (
        links.filter(pl.col("target").str.starts_with("answer "))
        .group_by("source")
        .agg(pl.col("flow_a").sum(), pl.col("flow_b").sum(), pl.col("difference").sum())
        .sort(pl.col("difference").abs().round(9), "source", descending=[True, False])
    )


def _jaccard(paired: pl.DataFrame) -> float | None:
    return None if paired.is_empty() else _mean(paired["found"] == "both")


def _mean(values: pl.Series) -> float:
    return float(values.cast(pl.Float64).to_numpy().mean())


def _weighted(paired: pl.DataFrame, value: str) -> float | None:
    first, second = pl.col(f"{value}_a").fill_null(0.0), pl.col(f"{value}_b").fill_null(0.0)
    sizes = paired.select(
        least=pl.when(first * second > 0).then(pl.min_horizontal(first.abs(), second.abs())).otherwise(0.0).sum(),
        most=pl.max_horizontal(first.abs(), second.abs()).sum(),
    )
    most = float(sizes["most"][0] or 0.0)
    return float(sizes["least"][0]) / most if most > 0 else None


def _roles(a: pl.DataFrame, b: pl.DataFrame, neurons: pl.DataFrame) -> float | None:
    """Mean over shared instances of the cosine between their flows (in and out together) in a and in b, at least 0 each."""
    shared = neurons.filter(pl.col("found") == "both").select("key")
    if shared.is_empty():
        return None
    profiles = [
        pl.concat(
            [
                links.select(key="source", other=pl.format("to {}", "target"), flow="flow"),
                links.select(key="target", other=pl.format("from {}", "source"), flow="flow"),
            ]
        ).join(shared, on="key", how="semi")
        for links in (a, b)
    ]
    size = (pl.col("flow") ** 2).sum().sqrt()
    sizes = [profile.group_by("key").agg(size=size) for profile in profiles]
    dots = (
        profiles[0]
        .join(profiles[1], on=["key", "other"])
        .group_by("key")
        .agg(dot=(pl.col("flow") * pl.col("flow_right")).sum())
    )
    cosines = (
        shared.join(dots, on="key", how="left")
        .join(sizes[0], on="key", how="left")
        .join(sizes[1], on="key", how="left")
        .select((pl.col("dot") / (pl.col("size") * pl.col("size_right"))).fill_nan(0.0).fill_null(0.0).clip(0.0, 1.0))
    )
    return _mean(cosines.to_series())


def _module_members(modules: GraphModules, named: pl.DataFrame) -> pl.DataFrame:
    return (
        modules.members.drop_nulls("module")
        .select("node", "module", "relevance", "layer")
        .join(named.select("node", "key", "place"), on="node", how="left")
    )
