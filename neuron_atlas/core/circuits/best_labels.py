"""One label per neuron and polarity, where several labelers spoke.

A person's word goes before any machine's, a language model's before imported labels, those before the rules; "unlabeled" comes
last of all.
"""

from __future__ import annotations

import polars as pl

LABELER_ORDER = ("human", "openai", "openai-batch", "import", "rules")
"""Labelers, most trusted first; others follow in alphabetical order."""


def best_labels(labels: pl.DataFrame) -> pl.DataFrame:
    """Of the rows of `output_labels` or `input_labels`, the best one of each neuron and polarity, in key order."""
    place = pl.col("labeler").replace_strict(
        list(LABELER_ORDER), list(range(len(LABELER_ORDER))), default=len(LABELER_ORDER), return_dtype=pl.Int8
    )
    return (
        labels.with_columns(no_label=pl.col("label").is_null(), place=place)
        .sort("layer", "neuron", "polarity", "no_label", "place", "labeler")
        .unique(subset=["layer", "neuron", "polarity"], keep="first", maintain_order=True)
        .drop("no_label", "place")
    )
