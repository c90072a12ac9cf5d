"""Calibration of a labeler: its stated confidence against the measured score of its labels."""

from __future__ import annotations

import polars as pl

from neuron_atlas.core.labeling.evidence.label_rows import with_side
from neuron_atlas.core.records import Tables

BINS = 5


def calibration(labels: Tables, scores: pl.LazyFrame) -> pl.DataFrame:
    """Per labeler, side, metric and fifth of the confidence scale: n labels, mean confidence and mean corrected score.

    `labels` holds `output_labels` and `input_labels`; `scores` is `label_scores`. A well calibrated labeler has equal means;
    `gap` is confidence minus corrected, above 0 where it is overconfident. Labels without a score do not count.
    """
    key = ("layer", "neuron", "polarity", "labeler")
    sides = [table.select(*key, "confidence", "side") for table in with_side(labels)]
    bin_of = (pl.col("confidence") * BINS).floor().clip(0, BINS - 1).cast(pl.Int8)
    return (
        pl.concat(sides)
        .drop_nulls("confidence")
        .join(scores.drop_nulls("corrected"), on=(*key, "side"))
        .with_columns(bin=bin_of)
        .group_by("labeler", "side", "metric", "bin")
        .agg(pl.len().alias("n"), pl.col("confidence").mean(), pl.col("corrected").mean())
        .with_columns(gap=pl.col("confidence") - pl.col("corrected"))
        .sort("labeler", "side", "metric", "bin")
        .collect()
    )
