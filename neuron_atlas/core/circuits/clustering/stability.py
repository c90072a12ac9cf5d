"""How stable each module is, when the search and the prompts change.

A module may be an accident of the search or of the prompts. So the clustering is repeated with other seeds, and on resampled
prompts (`bootstrap.py`), and every module is compared with the most similar module of every other run: its **stability** is the
mean of these best Jaccard overlaps (Hennig 2007, cluster-wise assessment). Resampled prompts do not show every neuron; the
comparison is among those they show, and a module of which they show none has overlap 0. Stability over seeds and over prompts are
kept apart; a module is called stable when both are at least 0.7.

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

STABLE = 0.7
"""A module with at least this stability counts as stable."""

ENOUGH = 5
"""An edge with at least this many instances counts when the typical spread is computed."""

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


def memberships(members: pl.DataFrame) -> pl.DataFrame:
    """One row per neuron and module that holds it, at every level: the columns of `members` that name a neuron, path, level.

    `members` as of `Modules`: path (List, empty when unclustered) and flow beside the columns that name a neuron.
    """
    names = [column for column in members.columns if column not in _NO_NAMES]
    depth = members["path"].list.len().max()
    levels = [
        members.filter(pl.col("path").list.len() >= level).select(
            *names,
            path=pl.col("path").list.head(level).cast(pl.List(pl.String)).list.join("."),
            level=pl.lit(level, pl.Int16),
        )
        for level in range(1, (depth if isinstance(depth, int) else 0) + 1)
    ]
    empty = members.clear().select(*names, path=pl.lit("", pl.String), level=pl.lit(1, pl.Int16))
    return pl.concat([empty, *levels])


_NO_NAMES = ("path", "flow", "level", "cluster")


def best_overlaps(reference: pl.DataFrame, other: pl.DataFrame, *, among: pl.DataFrame | None = None) -> pl.DataFrame:
    """For every module of one run's `memberships`, its largest Jaccard overlap with any module of another run.

    `among`: only these neurons count as members of the reference. Returns columns path, overlap (0..1, 0 when no module of the
    other run shares a neuron).
    """
    names = [column for column in reference.columns if column not in _NO_NAMES]
    paths = reference.select("path").unique()
    if among is not None:
        reference = reference.join(among.select(names), on=names, how="semi")
    sizes = reference.group_by("path").agg(size=pl.len())
    other_sizes = other.group_by(other_path="path").agg(other_size=pl.len())
    shared = (
        reference.select(*names, "path")
        .join(other.select(*names, other_path="path"), on=names)
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

    Missing values without other runs.
    """
    paths = reference.select("path").unique().sort("path")
    if not overlaps:
        return paths.with_columns(pl.lit(None, pl.Float64).alias(name))
    means = pl.concat(overlaps).group_by("path").agg(pl.col("overlap").sort().mean().alias(name))
    return paths.join(means, on="path", how="left").sort("path")
