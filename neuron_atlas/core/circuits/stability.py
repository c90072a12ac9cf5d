"""Which modules can be trusted.

A module found once may be an accident of the search or of the prompts. So the clustering is repeated with other seeds, and on
prompts drawn anew (`bootstrap`), and every module is compared with the most similar module of every other run: its
**stability** is the mean of these best Jaccard overlaps (Hennig 2007, cluster-wise assessment). A draw of prompts shows not every
neuron; the comparison is among those it shows, and a module of which it shows none counts as lost. Stability over seeds and over
prompts are kept apart; a module is flagged when either is below 0.7.

Where prompts cannot be drawn, links are redrawn from their own statistics, each on its own: the number of instances and of prompts
from a Poisson distribution around the observed one, the mean from a normal distribution with the observed standard error.
That leaves out that links of one prompt come and go together, so it understates how much a small prompt set can shift.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neuron_atlas.core.circuits.modules import Modules

STABLE = 0.7
"""A module with at least this stability counts as stable."""

ENOUGH = 5
"""Instances from which on an edge's own spread tells what is typical."""

PRIOR = 2
"""Instances of typical spread that every edge borrows."""

_Floats: TypeAlias = NDArray[np.float64]


def redraw_links(edges: pl.DataFrame, *, rng: np.random.Generator) -> pl.DataFrame:
    """Draw every edge of `neuron_edges` again from its sampling error; same columns, rows and order.

    |w| has variance std^2 + mean^2 - mean|w|^2; |flow| is scaled like |w|. An edge with few instances shows too little spread
    (with one, none), so each borrows `PRIOR` instances with the median relative spread of edges that have enough of their
    own.
    """
    n = edges["n"].to_numpy()
    mean = edges["weight_mean"].to_numpy()
    size = edges["weight_abs_mean"].to_numpy()
    variance = edges["weight_std"].to_numpy() ** 2
    mean_std = np.sqrt(_borrowing(variance, size, n) / np.maximum(n, 1.0))
    size_std = np.sqrt(_borrowing(np.maximum(variance + mean**2 - size**2, 0.0), size, n) / np.maximum(n, 1.0))
    new_size = np.maximum(size + rng.standard_normal(len(n)) * size_std, 0.0)
    ratio = np.divide(new_size, size, out=np.ones_like(size), where=size > 0)
    return edges.with_columns(
        n=pl.Series(rng.poisson(n), dtype=pl.Float64),
        n_prompts=pl.Series(rng.poisson(edges["n_prompts"].to_numpy()), dtype=pl.Float64),
        weight_mean=pl.Series(mean + rng.standard_normal(len(n)) * mean_std),
        weight_abs_mean=pl.Series(new_size),
        flow_abs_mean=pl.Series(edges["flow_abs_mean"].to_numpy() * ratio),
    )


def _borrowing(variance: _Floats, size: _Floats, n: _Floats) -> _Floats:
    """Variances of edges, each with `PRIOR` instances of the typical relative variance added."""
    own = (n >= ENOUGH) & (size > 0)
    typical = float(np.median(variance[own] / size[own] ** 2)) if own.any() else 1.0
    return (n * variance + PRIOR * typical * size**2) / (n + PRIOR)


def memberships(modules: Modules) -> pl.DataFrame:
    """Columns layer, neuron, path (text), level: one row per neuron and module that holds it, at every level."""
    depth = modules.members["path"].list.len().max()
    depth = depth if isinstance(depth, int) else 0
    levels = [
        modules.members.filter(pl.col("path").list.len() >= level).select(
            "layer",
            "neuron",
            path=pl.col("path").list.head(level).cast(pl.List(pl.String)).list.join("."),
            level=pl.lit(level, pl.Int16),
        )
        for level in range(1, depth + 1)
    ]
    empty = pl.DataFrame(schema={"layer": pl.Int16, "neuron": pl.Int32, "path": pl.String, "level": pl.Int16})
    return pl.concat(levels) if levels else empty


def best_overlaps(reference: pl.DataFrame, other: pl.DataFrame, *, among: pl.DataFrame | None = None) -> pl.DataFrame:
    """For every module of one run's `memberships`, its largest Jaccard overlap with any module of another run.

    `among`: only these neurons (columns layer, neuron) count as members of the reference. Returns columns path, overlap (0..1,
    0 when no module of the other run shares a neuron).
    """
    paths = reference.select("path").unique()
    if among is not None:
        reference = reference.join(among.select("layer", "neuron"), on=["layer", "neuron"], how="semi")
    sizes = reference.group_by("path").agg(size=pl.len())
    other_sizes = other.group_by(other_path="path").agg(other_size=pl.len())
    shared = (
        reference.select("layer", "neuron", "path")
        .join(other.select("layer", "neuron", other_path="path"), on=["layer", "neuron"])
        .group_by("path", "other_path")
        .agg(both=pl.len())
        .join(sizes, on="path")
        .join(other_sizes, on="other_path")
        .with_columns(overlap=pl.col("both") / (pl.col("size") + pl.col("other_size") - pl.col("both")))
    )
    best = shared.group_by("path").agg(pl.col("overlap").max())
    return paths.join(best, on="path", how="left").with_columns(pl.col("overlap").fill_null(0.0))


def stability(reference: pl.DataFrame, overlaps: Sequence[pl.DataFrame], *, name: str = "stability") -> pl.DataFrame:
    """Mean best overlap of every module of `reference` over `best_overlaps` of other runs: columns path and `name`.

    Missing values without other runs: nothing is known then.
    """
    paths = reference.select("path").unique().sort("path")
    if not overlaps:
        return paths.with_columns(pl.lit(None, pl.Float64).alias(name))
    means = pl.concat(overlaps).group_by("path").agg(pl.col("overlap").sort().mean().alias(name))
    return paths.join(means, on="path", how="left").sort("path")
