"""How many neurons are labeled, and how good their labels are, per pass and layer."""

from __future__ import annotations

import polars as pl

from neuron_atlas.core.labeling.evidence.label_rows import with_side
from neuron_atlas.core.labeling.evidence.labeler_answer import LEFT_OUT, UNANSWERED
from neuron_atlas.core.records import Tables

_KEY = ("layer", "neuron", "polarity", "labeler")


def coverage(labels: Tables) -> pl.DataFrame:
    """Per pass, layer (missing: all layers) and labeler: neurons and polarities, `labeled`, `unanswered` (asked, but no usable
    answer came), `left_out` by a budget, and the share `abstained` (left unlabeled for weak evidence).

    `labels` holds `output_labels` and `input_labels`.
    """
    reason = pl.col("unlabeled_reason")
    sides = [table.select(*_KEY, "label", "unlabeled_reason", "side") for table in with_side(labels)]
    if not sides:
        return pl.DataFrame()
    rows = pl.concat(sides).collect()
    counted = [
        pl.len().alias("neurons"),
        pl.col("label").count().alias("labeled"),
        reason.str.starts_with(UNANSWERED).sum().alias("unanswered"),
        reason.str.starts_with(LEFT_OUT).sum().alias("left_out"),
    ]
    return _with_totals(rows, ("side", "labeler"), counted).with_columns(
        abstained=(pl.col("neurons") - pl.col("labeled") - pl.col("unanswered") - pl.col("left_out"))
        / pl.col("neurons")
    )


def scored(scores: pl.LazyFrame) -> pl.DataFrame:
    """Per pass, layer (missing: all layers), labeler and metric: labels scored, mean score, mean score of other neurons' labels in
    their place (`null`), mean `corrected` (0 chance, 1 perfect) with its 95 % interval over labels, and the share of labels
    whose own interval lies above the null."""
    rows = scores.drop_nulls("corrected").collect()
    spread = 1.96 * pl.col("corrected").std().fill_null(0.0) / pl.len().sqrt()
    counted = [
        pl.len().alias("n"),
        pl.col("score").mean(),
        pl.col("null_score").mean().alias("null"),
        pl.col("corrected").mean(),
        (pl.col("corrected").mean() - spread).alias("low"),
        (pl.col("corrected").mean() + spread).alias("high"),
        (pl.col("ci_low") > pl.col("null_score")).mean().alias("above_null"),
    ]
    return _with_totals(rows, ("side", "labeler", "metric"), counted)


def _with_totals(rows: pl.DataFrame, key: tuple[str, ...], counted: list[pl.Expr]) -> pl.DataFrame:
    """Counts per layer, and over all layers in a row without one; passes and metrics stay together."""
    layers = rows.group_by(*key, "layer").agg(counted)
    totals = rows.group_by(*key).agg(counted).with_columns(layer=pl.lit(None, pl.Int16))
    both = pl.concat([layers.cast({"layer": pl.Int16}), totals.select(layers.columns)])
    return both.sort([*key, "layer"], descending=[True, *[False] * len(key)], nulls_last=True)
