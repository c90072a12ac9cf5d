"""Clusters: the modules of the flow graph with their flow, their extent and their stability, and the flow between them.

This is the entry point of the folder: `find_clusters` makes all tables of asset `clusters`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import numpy as np
import polars as pl

from neuron_atlas.core.circuits.clustering.bootstrap import prompt_draws
from neuron_atlas.core.circuits.clustering.find_modules import FlowModel, Method, Modules, find_modules
from neuron_atlas.core.circuits.clustering.flow_graph import (
    FlowGraph,
    HubControl,
    SignTreatment,
    WeightTransform,
    flow_graph,
    neuron_edges,
)
from neuron_atlas.core.circuits.clustering.stability import STABLE, best_overlaps, memberships, redraw_links, stability
from neuron_atlas.core.records import Frames, Tables
from neuron_atlas.core.tables import CLUSTER_FLOWS, CLUSTER_MEMBERS, CLUSTER_RUNS, CLUSTERS

STABILITY_TRIALS = 2
"""Trials of each repeated run; fewer than for the clustering itself, so stability is rather under- than overstated."""

_Draw: TypeAlias = Callable[[np.random.Generator], pl.DataFrame]
"""Draws the edges that other prompts of the same kind might have shown."""


def find_clusters(
    stats: Tables,
    *,
    graphs: Tables | None = None,
    seed: int = 0,
    method: Method = "infomap",
    trials: int = 10,
    min_count: int = 2,
    transform: WeightTransform = "abs_weight_sq",
    signs: SignTreatment = "merged",
    flow: FlowModel = "undirected",
    hubs: HubControl = "keep",
    resolution: float = 1.0,
    reseeds: int = 4,
    bootstraps: int = 4,
) -> Frames:
    """Cluster the neurons of `edge_stats` into a hierarchy of modules (tables clusters, cluster_members, cluster_runs,
    cluster_flows).

    `stats` holds edge_stats and, where there, neuron_profiles; `graphs` the tables of raw_graphs, from which prompts are
    resampled. Links seen in fewer than `min_count` prompts are left out; `transform`, `signs` and `hubs` are explained in
    `flow_graph.py`, `method` and `resolution` in `community_detection.py`, `flow` in `find_modules.py`. Each module's stability
    is measured over `reseeds` runs with other seeds and, separately, over `bootstraps` runs on resampled prompts (on redrawn
    links without `graphs`); with no runs of a kind that stability is missing. Every neuron of edge_stats and neuron_profiles is a
    member, without a path when it belongs to no module. The same input and seed give the same rows. Raises `Incomplete` without
    edge_stats, `BadInput` on unknown options.
    """
    edges = neuron_edges(stats)
    graph_of = partial(flow_graph, min_count=min_count, transform=transform, signs=signs, hubs=hubs)
    search = partial(find_modules, method=method, flow=flow, resolution=resolution)
    graph = graph_of(edges)
    modules = search(graph, seed=seed, trials=trials)
    reference = memberships(modules.members)
    reseeded: list[pl.DataFrame] = []
    for run in range(1, reseeds + 1):
        again = search(graph, seed=seed + run, trials=STABILITY_TRIALS)
        reseeded.append(best_overlaps(reference, memberships(again.members)))
    draw, unit = _redrawing(edges, graphs or {})
    redrawn: list[pl.DataFrame] = []
    for run in range(1, bootstraps + 1):
        other = graph_of(draw(np.random.default_rng([seed, run])))
        again = search(other, seed=seed, trials=STABILITY_TRIALS)
        redrawn.append(best_overlaps(reference, memberships(again.members), among=other.neurons))
    stable = stability(reference, reseeded, name="stability_seeds").join(
        stability(reference, redrawn, name="stability_prompts"), on="path"
    )
    run_row = pl.DataFrame(
        {
            "algorithm": [method],
            "seed": [seed],
            "weight_transform": [transform],
            "signs": [signs],
            "flow_model": [flow],
            "hubs": [hubs],
            "min_count": [min_count],
            "resolution": [resolution if method == "leiden" else None],
            "n_reseeds": [reseeds],
            "n_bootstraps": [bootstraps],
            "bootstrap_unit": [unit if bootstraps else "none"],
            **_counts(graph, modules),
        }
    )
    return {
        "clusters": CLUSTERS.checked(_cluster_rows(modules, reference, stable)),
        "cluster_members": CLUSTER_MEMBERS.checked(_member_rows(modules, _all_neurons(stats, edges))),
        "cluster_runs": CLUSTER_RUNS.checked(run_row),
        "cluster_flows": CLUSTER_FLOWS.checked(_flow_rows(modules, edges)),
    }


def _redrawing(edges: pl.DataFrame, graphs: Tables) -> tuple[_Draw, str]:
    """How to draw again, and what is drawn: prompts where their graphs are given and not too many, else links."""
    draws = prompt_draws(graphs)
    if draws is not None and draws.edges.height:
        return draws.draw, "prompts"
    return (lambda rng: redraw_links(edges, rng=rng)), "links"


def _counts(graph: FlowGraph, modules: Modules) -> dict[str, list[float | int]]:
    """What the clustering covers and how much code length it saves, as columns of cluster_runs."""
    return {
        "n_nodes": [graph.neurons.height],
        "n_links": [graph.n_links],
        "n_clustered": [modules.members.filter(pl.col("path").list.len() > 0).height],
        "codelength": [modules.codelength],
        "one_level_codelength": [modules.one_level_codelength],
        "saving": [modules.saving],
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
        .with_columns(stability=pl.min_horizontal("stability_seeds", "stability_prompts"))
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


def _flow_rows(modules: Modules, edges: pl.DataFrame) -> pl.DataFrame:
    """What passes between top modules and inside them; edges with a neuron outside all modules are left out."""
    tops = modules.members.select("layer", "neuron", top=pl.col("path").list.first()).drop_nulls("top")
    flow_abs = (pl.col("n") * pl.col("flow_abs_mean")).fill_null(0.0)
    return (
        edges.join(tops, left_on=["source_layer", "source"], right_on=["layer", "neuron"])
        .join(tops, left_on=["target_layer", "target"], right_on=["layer", "neuron"], suffix="_target")
        .group_by(from_top="top", to_top="top_target")
        .agg(
            n_edges=pl.len(),
            flow=(pl.col("n") * pl.col("flow_mean")).fill_null(0.0).sort().sum(),
            flow_abs=flow_abs.sort().sum(),
            flow_inhibitory=flow_abs.filter(pl.col("weight_mean") < 0).sort().sum(),
        )
        .rename({"from_top": "source", "to_top": "target"})
    )


def _all_neurons(stats: Tables, edges: pl.DataFrame) -> pl.DataFrame:
    """Every neuron that any graph showed."""
    parts = [
        edges.select(layer="source_layer", neuron="source"),
        edges.select(layer="target_layer", neuron="target"),
    ]
    if "neuron_profiles" in stats:
        parts.append(stats["neuron_profiles"].select("layer", "neuron").collect())
    return pl.concat(parts).unique().sort("layer", "neuron")
