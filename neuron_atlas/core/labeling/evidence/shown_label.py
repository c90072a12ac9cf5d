"""Which label is shown for a neuron, and which score stands for it: the one place that decides.

Several labelers may have labeled the same neuron and polarity. A row that holds a label comes before one that does not; then a
person's label before any machine's, a language model that read our evidence before a label from elsewhere, and that before the
rules (`LABELERS`). The layers of a pass, the atlas, the search database, the clusters and the filters all rank rows by
`shown_first`.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

LABELERS = ("human", "openai", "openai-batch", "import", "rules")
"""Most trusted first; an unknown labeler comes after them, by name."""
METRICS = ("simulation", "intervention", "detection", "fuzzing")
"""Which measured score stands for a label: the hardest to pass first."""
POLAR_KEY = ("layer", "neuron", "polarity")


def labeler_rank() -> pl.Expr:
    """Place of the column `labeler` in `LABELERS`, 0 for the most trusted."""
    return _place("labeler", LABELERS)


def metric_rank() -> pl.Expr:
    """Place of the column `metric` in `METRICS`, 0 for the hardest."""
    return _place("metric", METRICS)


def shown_first() -> tuple[pl.Expr, ...]:
    """What to sort rows with the columns `label` and `labeler` by, so that the first of a neuron is the one to show."""
    return pl.col("label").is_null(), labeler_rank(), pl.col("labeler")


def first_shown(rows: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """One row per `key`, the one to show, in key order, with the columns it came with."""
    return rows.sort(*key, *shown_first()).unique(key, keep="first", maintain_order=True)


def best_labels(labels: pl.DataFrame) -> pl.DataFrame:
    """The row to show of each (layer, neuron, polarity) of a label table, in this order."""
    return first_shown(labels, POLAR_KEY)


def best_scores(scores: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """The row of the hardest metric of `METRICS` for each `key`, in key order; a metric without a `score` comes last."""
    ranked = scores.filter(pl.col("metric").is_in(METRICS)).sort(*key, pl.col("score").is_null(), metric_rank())
    return ranked.unique(key, keep="first", maintain_order=True)


def _place(column: str, names: Sequence[str]) -> pl.Expr:
    """A column's place in a list of names; unknown names come last."""
    places = {name: place for place, name in enumerate(names)}
    return pl.col(column).replace_strict(places, default=len(names), return_dtype=pl.Int32)
