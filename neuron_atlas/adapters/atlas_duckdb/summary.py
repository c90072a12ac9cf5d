"""What an atlas holds, in numbers, and what in it is worth a first question."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class AtlasSummary:
    """An atlas in numbers. `counts` is one row: model, graphs, quarantined, neurons, neurons_in_graphs, edges, clusters,
    stable_clusters, conservation_error; `labels` one per side: labeled, abstained; `scores` the mean label scores by side and
    metric.

    `top_cluster` is the label of the cluster with most flow, `top_neuron` the neuron that does most with its output and input
    label; None where nothing is labeled.
    """

    counts: pl.DataFrame
    labels: pl.DataFrame
    scores: pl.DataFrame
    top_cluster: str | None
    top_neuron: tuple[str, str, str] | None
