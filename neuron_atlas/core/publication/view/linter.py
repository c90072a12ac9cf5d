"""The linter: groups among the neurons that fire strongest in a text, by module and by meaning.

By module: neurons of one cluster of the atlas, named as it is there. By meaning: neurons whose labels are near each other; average
linkage on the cosine distance of their vectors, cut at `FAR`, groups of at least `LEAST` neurons. A group is named by its
medoid, the label nearest to all others, and `coherence` is the mean cosine between its members. The same neurons give the same
groups: nothing is drawn at random.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neuron_atlas.core.ports import Array
from neuron_atlas.core.publication.filters.neuron_facts import NeuronFacts

FAR = 0.6
"""Mean cosine distance at which two groups are no longer one."""
LEAST = 3
"""Fewest neurons of a group."""
MOST = 300
"""Most neurons that are looked at."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One group. `by` says what it shares; `path` is its module (missing by meaning); `coherence` the mean cosine of its labels
    (missing by module); `strength` the mean |normalised| activation of its neurons' strongest instances (missing without
    quantiles); `neurons` their ids with polarity, strongest first; `tokens` the texts of the tokens where they fire most."""

    by: Literal["module", "meaning"]
    name: str
    path: str | None
    coherence: float | None
    strength: float | None
    neurons: tuple[str, ...]
    tokens: tuple[str, ...]


def lint(found: pl.DataFrame, known: NeuronFacts, *, least: int = LEAST, far: float = FAR) -> list[Finding]:
    """Groups among neurons (rows of `view_tables.neurons`, strongest first): modules first, then meanings, larger ones first.

    Without an embedder only modules are found.
    """
    rows = found.head(MOST).with_columns(
        name=pl.format("{}{}", "neuron_id", pl.when(pl.col("polarity") > 0).then(pl.lit("+")).otherwise(pl.lit("-")))
    )
    modules = [
        _finding("module", group["cluster_name"][0] or f"module {path}", group, path=str(path))
        for (path,), group in rows.drop_nulls("cluster").group_by(["cluster"], maintain_order=True)
        if group.height >= least
    ]
    return [*sorted(modules, key=_size), *sorted(_by_meaning(rows, known, least, far), key=_size)]


def _by_meaning(rows: pl.DataFrame, known: NeuronFacts, least: int, far: float) -> list[Finding]:
    told = rows.drop_nulls("label")
    if known.meaning is None or told.height < least:
        return []
    vectors = known.meaning.vectors(told["label"].to_list())
    cosines = vectors @ vectors.T
    found: list[Finding] = []
    for members in average_linkage(1 - cosines, far=far):
        if len(members) >= least:
            inside = cosines[np.ix_(members, members)]
            medoid = int(members[np.argmax(np.rint(inside.sum(1) * 1e5))])  # of equal ones the first
            pairs = len(members) * (len(members) - 1)
            coherence = float((inside.sum() - np.trace(inside)) / pairs) if pairs else 1.0
            found.append(_finding("meaning", told["label"][medoid], told[members], coherence=coherence))
    return found


def average_linkage(distances: Array, *, far: float) -> list[NDArray[np.int64]]:
    """Groups of 0..n-1 by average linkage: the two nearest groups join until the nearest are `far` apart or more. `distances`
    [n, n] is symmetric; the same distances give the same groups. Members in order, groups by their first member."""
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(distances) < 2:
        return [np.arange(len(distances))]
    pairs = np.round(distances.astype(np.float64)[np.triu_indices(len(distances), 1)], 9)
    group = fcluster(linkage(np.maximum(pairs, 0), "average"), np.nextafter(far, 0), "distance")
    _, first = np.unique(group, return_index=True)
    return [np.flatnonzero(group == group[member]) for member in np.sort(first)]


def _finding(
    by: Literal["module", "meaning"],
    name: str,
    group: pl.DataFrame,
    *,
    path: str | None = None,
    coherence: float | None = None,
) -> Finding:
    shares = group["normalised"].abs().drop_nulls()
    tokens = (
        group["token"]
        .drop_nulls()
        .str.strip_chars()
        .value_counts(sort=True)
        .sort("count", "token", descending=[True, False])
    )
    return Finding(
        by=by,
        name=name,
        path=path,
        coherence=coherence,
        strength=float(np.mean(shares.to_numpy())) if len(shares) else None,
        neurons=tuple(group["name"]),
        tokens=tuple(tokens["token"].head(5)),
    )


def _size(finding: Finding) -> tuple[int, str]:
    return -len(finding.neurons), finding.name
