"""Plots of the statistics tables: which numbers are shown. How they are drawn is in drawing.py.

A neuron's *degree* is the number of its distinct links with other neurons over all graphs, positions dropped.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neuron_atlas.core.aggregation.graphs.domain_specificity import SURE_Z
from neuron_atlas.defs.metadata.drawing import at_least, heatmap, outlines

RATIO_BINS = 10
"""Steps of a ratio from 0 to 1."""


def degrees(edges: pl.DataFrame) -> str:
    """Which share of neurons has x links or more, in and out. `edges` is table `edge_stats`."""
    links = edges.lazy().filter(pl.col("source_kind") == "neuron", pl.col("target_kind") == "neuron")
    counted = {
        "in": links.group_by("target_layer", "target").len().collect(),
        "out": links.group_by("source_layer", "source").len().collect(),
    }
    lines = {name: _floats(frame["len"]) for name, frame in counted.items()}
    return at_least(
        lines, title="Degrees of neurons", x_unit="links with other neurons", y_unit="share with at least so many"
    )


def weights(edges: pl.DataFrame) -> str:
    """How large mean weights are, of exciting and of inhibiting edges. `edges` is table `edge_stats`."""
    mean = edges["weight_mean"]
    lines = {"excites": _floats(mean), "inhibits": -_floats(mean)}
    return outlines(lines, title="Weights of edges", x_unit="|mean weight|", y_unit="edges")


def ratio_by_layer(scores: pl.DataFrame) -> str:
    """A histogram of direct-effect ratios for every layer. `scores` is table `der_scores`."""
    step = (pl.col("der") * RATIO_BINS).floor().clip(0, RATIO_BINS - 1).cast(pl.Int64)
    counts = scores.group_by("layer", step=step).len()
    sizes = dict(scores.group_by("layer").len().iter_rows())
    shares = {(layer, step): count / sizes[layer] for layer, step, count in counts.iter_rows()}
    layers = sorted(sizes)
    return heatmap(
        [f"L{layer}" for layer in layers],
        [f"{step / RATIO_BINS:.1f}" for step in range(RATIO_BINS)],
        [[shares.get((layer, step), 0.0) for step in range(RATIO_BINS)] for layer in layers],
        title="Direct-effect ratio by layer",
        unit="share of the layer",
        x_unit="ratio, from",
        y_unit="layer",
    )


def specialists(profiles: pl.DataFrame) -> str:
    """Which share of a layer's neurons and polarities is a specialist of which domain. `profiles` is table `neuron_profiles`."""
    sizes = dict(profiles.group_by("layer").len().iter_rows())
    sure = profiles.filter(pl.col("domain_z") >= SURE_Z).group_by("layer", "domain").len()
    shares = {(layer, domain): count / sizes[layer] for layer, domain, count in sure.iter_rows()}
    domains, layers = sorted({domain for _, domain in shares}), sorted(sizes)
    return heatmap(
        [f"L{layer}" for layer in layers],
        domains,
        [[shares.get((layer, domain), 0.0) for domain in domains] for layer in layers],
        title=f"Specialists of a domain (z of {SURE_Z:g} or more)",
        unit="share of the layer",
        x_unit="domain",
        y_unit="layer",
    )


SHOWN_CLUSTERS = 12
"""Top clusters in the plot of what passes between them."""


def cluster_flows(top: pl.DataFrame, flows: pl.DataFrame) -> str:
    """The |flow| between the top clusters through which most passes, without what stays inside.

    `top` is the top level of table `clusters`, `flows` table `cluster_flows`.
    """
    crossing = flows.filter(pl.col("source") != pl.col("target"))
    traffic = pl.concat(
        [crossing.select(top="source", flow="flow_abs"), crossing.select(top="target", flow="flow_abs")]
    )
    busiest = traffic.group_by("top").agg(pl.col("flow").sort().sum()).sort("flow", "top", descending=[True, False])
    shown = sorted(busiest["top"].head(SHOWN_CLUSTERS).to_list())
    between = {
        (source, target): flow for source, target, flow in crossing.select("source", "target", "flow_abs").iter_rows()
    }
    values = [[between.get((source, target), 0.0) for target in shown] for source in shown]
    names = [str(number) for number in shown]
    title = f"|flow| between {len(shown)} of {top.height} top clusters"
    return heatmap(names, names, values, title=title, unit="logits", x_unit="to", y_unit="from")


def _floats(values: pl.Series) -> NDArray[np.float64]:
    return values.cast(pl.Float64).to_numpy()
