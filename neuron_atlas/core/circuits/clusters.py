"""Clusters: the modules of the flow graph with their flow, their extent and how far to trust them."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import polars as pl

from neuron_atlas.core.circuits.flow_graph import FlowGraph, HubControl, WeightTransform, flow_graph, neuron_edges
from neuron_atlas.core.circuits.modules import FlowModel, Modules, find_modules
from neuron_atlas.core.circuits.stability import STABLE, memberships, redraw, stability
from neuron_atlas.core.records import Frames, Tables
from neuron_atlas.core.tables import CLUSTER_MEMBERS, CLUSTER_RUNS, CLUSTERS

_Runs: TypeAlias = list[pl.DataFrame]

STABILITY_TRIALS = 2
"""Infomap trials of each repeated run; fewer than for the clustering itself, so stability is rather under- than overstated."""


def find_clusters(
    stats: Tables,
    *,
    seed: int = 0,
    trials: int = 10,
    min_count: int = 2,
    transform: WeightTransform = "abs_weight_sq",
    flow: FlowModel = "undirected",
    hubs: HubControl = "keep",
    reseeds: int = 4,
    bootstraps: int = 4,
) -> Frames:
    """Cluster the neurons of `edge_stats` into a hierarchy of modules (tables clusters, cluster_members, cluster_runs).

    `stats` holds edge_stats and, where there, neuron_profiles. Links seen in fewer than `min_count` prompts are left out;
    `transform` and `hubs` are explained in `flow_graph`, `flow` in `modules`. Each module's stability is taken over
    `reseeds` runs with other seeds and `bootstraps` runs on redrawn links; with none of either it is 1 and means nothing.
    Every neuron of edge_stats and neuron_profiles is a member, without a path when it belongs to no module.
    The same input and seed give the same rows. Raises `Incomplete` without edge_stats, `BadInput` on unknown options.
    """
    edges = neuron_edges(stats)
    graph = flow_graph(edges, min_count=min_count, transform=transform, hubs=hubs)
    modules = find_modules(graph, seed=seed, trials=trials, flow=flow)
    reference = memberships(modules)
    runs: _Runs = []
    for run in range(1, reseeds + 1):
        runs.append(memberships(find_modules(graph, seed=seed + run, trials=STABILITY_TRIALS, flow=flow)))
    for run in range(1, bootstraps + 1):
        redrawn = redraw(edges, rng=np.random.default_rng([seed, run]))
        again = flow_graph(redrawn, min_count=min_count, transform=transform, hubs=hubs)
        runs.append(memberships(find_modules(again, seed=seed, trials=STABILITY_TRIALS, flow=flow)))
    return {
        "clusters": CLUSTERS.checked(_cluster_rows(modules, reference, stability(reference, runs))),
        "cluster_members": CLUSTER_MEMBERS.checked(_member_rows(modules, _all_neurons(stats, edges))),
        "cluster_runs": CLUSTER_RUNS.checked(_run_row(graph, modules, seed, f"{transform}, {flow} flow, hubs: {hubs}")),
    }


def _cluster_rows(modules: Modules, reference: pl.DataFrame, stable: pl.DataFrame) -> pl.DataFrame:
    """One row per module at every level."""
    flow = modules.members.select("layer", "neuron", "flow")
    return (
        reference.join(flow, on=["layer", "neuron"])
        .group_by("path", "level")
        .agg(
            size=pl.len(),
            flow=pl.col("flow").sort().sum(),
            layer_min=pl.col("layer").min(),
            layer_max=pl.col("layer").max(),
            layer_median=pl.col("layer").cast(pl.Float64).median(),
        )
        .join(stable, on="path", how="left")
        .with_columns(is_stable=pl.col("stability") >= STABLE)
    )


def _member_rows(modules: Modules, neurons: pl.DataFrame) -> pl.DataFrame:
    """One row per neuron; those outside the flow graph have no path and no flow."""
    is_clustered = pl.col("path").list.len() > 0
    found = modules.members.select(
        "layer",
        "neuron",
        path=pl.when(is_clustered).then(pl.col("path").cast(pl.List(pl.String)).list.join(".")),
        top=pl.when(is_clustered).then(pl.col("path").list.first()),
        flow="flow",
    )
    return neurons.join(found, on=["layer", "neuron"], how="left").with_columns(pl.col("flow").fill_null(0.0))


def _all_neurons(stats: Tables, edges: pl.DataFrame) -> pl.DataFrame:
    """Every neuron that any graph showed."""
    parts = [
        edges.select(layer="source_layer", neuron="source"),
        edges.select(layer="target_layer", neuron="target"),
    ]
    if "neuron_profiles" in stats:
        parts.append(stats["neuron_profiles"].select("layer", "neuron").collect())
    return pl.concat(parts).unique().sort("layer", "neuron")


def _run_row(graph: FlowGraph, modules: Modules, seed: int, transform: str) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "algorithm": ["infomap"],
            "seed": [seed],
            "weight_transform": [transform],
            "n_nodes": [graph.neurons.height],
            "n_links": [graph.links.height],
            "n_clustered": [modules.members.filter(pl.col("path").list.len() > 0).height],
            "codelength": [modules.codelength],
            "one_level_codelength": [modules.one_level_codelength],
            "saving": [modules.saving],
        }
    )
