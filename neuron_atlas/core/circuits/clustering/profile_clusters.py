"""Clusters of units with like attribution profiles: driven by the same tokens and acting on the same logits, linked to each other
or not.

Each unit is linked to its `NEIGHBOURS` most alike units (see `attribution_profiles.py`), each link as heavy as the likeness, and
the modules of these links are searched as those of the flow graph are. Stability is measured in the same way: with other seeds,
and on resampled prompts. How far these clusters agree with the modules of the flow graph (`clusters.py`) is stored beside them as
adjusted mutual information; 1 would mean that they say nothing new.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

import numpy as np
import polars as pl

from neuron_atlas.core.circuits.clustering.attribution_profiles import UNIT, Profiles, attribution_profiles
from neuron_atlas.core.circuits.clustering.find_modules import Method, find_modules
from neuron_atlas.core.circuits.clustering.flow_graph import FlowGraph
from neuron_atlas.core.circuits.clustering.mutual_information import adjusted_mutual_information
from neuron_atlas.core.circuits.clustering.stability import STABLE, best_overlaps, memberships, stability
from neuron_atlas.core.records import Frames, Tables
from neuron_atlas.core.tables import PROFILE_AGREEMENT, PROFILE_CLUSTERS, PROFILE_MEMBERS
from neuron_atlas.errors import Incomplete

NEIGHBOURS = 10
"""Most alike units that a unit is linked to."""

MIN_LIKENESS = 0.1
"""Least likeness of linked units."""

STABILITY_TRIALS = 2
"""Trials of each repeated run."""

N_TOKENS = 8
"""Tokens shown of each side of a cluster."""


def cluster_profiles(
    graphs: Tables,
    clusters: Tables,
    *,
    special_ids: Collection[int] = (),
    seed: int = 0,
    method: Method = "infomap",
    trials: int = 10,
    min_count: int = 2,
    reseeds: int = 4,
    bootstraps: int = 4,
) -> Frames:
    """Cluster units by their attribution profiles (tables profile_clusters, profile_members, profile_agreement).

    `graphs` holds the tables of raw_graphs, `clusters` table cluster_members of the flow graph's modules. Two units are compared
    when at least `min_count` prompts show both. `special_ids`: tokens left out of the input side. A unit without any like it has no
    cluster. The same input and seed give the same rows. Raises `Incomplete` when a table is missing.
    """
    missing = [name for name in ("graphs", "targets", "nodes", "edges") if name not in graphs]
    if missing or "cluster_members" not in clusters:
        raise Incomplete(
            f"profile clusters need tables {', '.join([*missing, *({'cluster_members'} - set(clusters))])}, which were not given; "
            "materialize raw_graphs and clusters first"
        )
    profiles = attribution_profiles(graphs, special_ids=special_ids)
    search = partial(find_modules, method=method)
    pairs = profiles.likeness(min_count=min_count)
    graph = _graph(profiles, pairs)
    found = search(graph, seed=seed, trials=trials).members
    members = found.with_columns(cluster=pl.col("path").list.first())
    reference = memberships_of_top(members)
    reseeded: list[pl.DataFrame] = []
    for run in range(1, reseeds + 1):
        other = search(graph, seed=seed + run, trials=STABILITY_TRIALS).members
        reseeded.append(best_overlaps(reference, memberships_of_top(other)))
    redrawn: list[pl.DataFrame] = []
    for run in range(1, bootstraps + 1):
        n = len(profiles.prompts)
        times = (
            np.bincount(np.random.default_rng([seed, run]).integers(n, size=n), minlength=n) if n else np.zeros(0, int)
        )
        other = search(
            _graph(profiles, profiles.likeness(times, min_count=min_count)), seed=seed, trials=STABILITY_TRIALS
        )
        shown = other.members.filter(pl.col("path").list.len() > 0)
        redrawn.append(best_overlaps(reference, memberships_of_top(other.members), among=shown))
    stable = stability(reference, reseeded, name="stability_seeds").join(
        stability(reference, redrawn, name="stability_prompts"), on="path"
    )
    return {
        "profile_clusters": PROFILE_CLUSTERS.checked(_cluster_rows(profiles, members, pairs, stable)),
        "profile_members": PROFILE_MEMBERS.checked(_member_rows(profiles, members)),
        "profile_agreement": PROFILE_AGREEMENT.checked(_agreement(members, clusters["cluster_members"].collect())),
    }


def memberships_of_top(members: pl.DataFrame) -> pl.DataFrame:
    """`memberships` of the top level alone."""
    return memberships(members).filter(pl.col("level") == 1)


def _graph(profiles: Profiles, pairs: pl.DataFrame) -> FlowGraph:
    """Every unit linked to those most like it; a pair is linked when either is among the other's."""
    alike = pairs.filter(pl.col("likeness") >= MIN_LIKENESS).select("a", "b", pl.col("likeness").round(12))
    links = (
        pl.concat([alike, alike.select(a="b", b="a", likeness="likeness")])
        .sort("a", "likeness", "b", descending=[False, True, False])
        .group_by("a", maintain_order=True)
        .head(NEIGHBOURS)
        .select(source=pl.min_horizontal("a", "b"), target=pl.max_horizontal("a", "b"), weight="likeness")
        .unique()
        .sort("source", "target")
    )
    return FlowGraph(profiles.units, links)


def _numbered(members: pl.DataFrame) -> pl.DataFrame:
    """Columns unit, cluster of the clustered units."""
    numbered = members.with_row_index("unit").select(pl.col("unit").cast(pl.Int64), "cluster")
    return numbered.drop_nulls("cluster")


def _cluster_rows(profiles: Profiles, members: pl.DataFrame, pairs: pl.DataFrame, stable: pl.DataFrame) -> pl.DataFrame:
    unit = _numbered(members)
    inside = (
        pairs.join(unit, left_on="a", right_on="unit")
        .join(unit, left_on="b", right_on="unit", suffix="_b")
        .filter(pl.col("cluster") == pl.col("cluster_b"))
        .group_by("cluster")
        .agg(input_likeness=pl.col("input").sort().mean(), output_likeness=pl.col("output").sort().mean())
    )
    prompts = profiles.seen.join(unit, on="unit").group_by("cluster").agg(n_prompts=pl.col("prompt").n_unique())
    rows = (
        members.drop_nulls("cluster")
        .group_by("cluster")
        .agg(
            size=pl.len(),
            layer_min=pl.col("layer").min(),
            layer_max=pl.col("layer").max(),
            layer_median=pl.col("layer").cast(pl.Float64).median(),
        )
        .join(prompts, on="cluster")
        .join(inside, on="cluster", how="left")
        .join(stable.with_columns(cluster=pl.col("path").cast(pl.Int32)).drop("path"), on="cluster", how="left")
        .with_columns(stability=pl.min_horizontal("stability_seeds", "stability_prompts"))
        .with_columns(is_stable=pl.col("stability") >= STABLE)
    )
    for column, side in (("input_tokens", "input"), ("raised_tokens", "raises"), ("lowered_tokens", "lowers")):
        rows = rows.join(_best_tokens(profiles, unit, side, column), on="cluster", how="left")
        rows = rows.with_columns(pl.col(column).fill_null([]))
    return rows


def _best_tokens(profiles: Profiles, unit: pl.DataFrame, side: str, column: str) -> pl.DataFrame:
    """The tokens with the largest share of one side, summed over a cluster's units and prompts."""
    return (
        profiles.tokens.filter(pl.col("side") == side)
        .join(unit, on="unit")
        .group_by("cluster", "token")
        .agg(pl.col("share").sort().sum().round(12))
        .sort("cluster", "share", "token", descending=[False, True, False])
        .group_by("cluster", maintain_order=True)
        .agg(pl.col("token").head(N_TOKENS).alias(column))
    )


def _member_rows(profiles: Profiles, members: pl.DataFrame) -> pl.DataFrame:
    counts = profiles.seen.group_by("unit").agg(n_prompts=pl.len())
    numbered = members.with_row_index("unit").with_columns(pl.col("unit").cast(pl.Int64))
    return numbered.join(counts, on="unit", how="left").select(*UNIT, "cluster", "n_prompts")


def _agreement(members: pl.DataFrame, flow: pl.DataFrame) -> pl.DataFrame:
    """AMI with the modules of the flow graph, top and finest, over the units that are in a cluster and in a module."""
    both = members.drop_nulls("cluster").drop("path").join(flow.drop_nulls("path"), on=["layer", "neuron"])
    mine = both["cluster"].to_numpy().astype(np.int64)
    rows = [
        (level, len(mine), adjusted_mutual_information(mine, both[column].rank("dense").to_numpy().astype(np.int64)))
        for level, column in (("top", "top"), ("finest", "path"))
    ]
    return pl.DataFrame(rows, schema={"level": pl.String, "n": pl.Int64, "ami": pl.Float64}, orient="row")
