"""Rows of the label tables as their readers use them, and the name of one version of a label.

A label's `ref` (`L18/N6721+@<12 hex digits>`) is made of what a reader of the label sees, so it changes exactly when a reader would
read something else. Each label records the refs it read; comparing them with today's says which labels are stale.
"""

from __future__ import annotations

from typing import Literal, TypedDict, cast

import polars as pl

from neuron_atlas.core.hashing import content_hash
from neuron_atlas.core.labeling.evidence.evidence_record import polar_name
from neuron_atlas.core.labeling.evidence.shown_label import best_labels
from neuron_atlas.core.records import SIDES, Tables


class LabelRow(TypedDict):
    """One row of `output_labels` or `input_labels`, as far as readers of labels use it."""

    layer: int
    neuron: int
    polarity: int
    labeler: str
    version: str
    label: str | None
    description: str | None
    type: str
    confidence: float | None
    tokens: list[str]
    token_ids: list[int]
    direction: int


_SEEN: tuple[Literal["label", "description", "type", "tokens", "token_ids", "direction", "labeler", "version"], ...] = (
    "label", "description", "type", "tokens", "token_ids", "direction", "labeler", "version",
)  # fmt: skip


def rows_of(labels: pl.DataFrame) -> list[LabelRow]:
    """The rows of a frame with the columns of a label table."""
    return [cast(LabelRow, row) for row in labels.iter_rows(named=True)]


def with_side(labels: Tables) -> list[pl.LazyFrame]:
    """The label tables among `labels`, `output_labels` first, each with a column `side`."""
    return [labels[f"{side}_labels"].with_columns(side=pl.lit(side)) for side in SIDES if f"{side}_labels" in labels]


def label_ref(row: LabelRow) -> str:
    """`L18/N6721+@<hash>` of one row of `output_labels` or `input_labels`."""
    seen = {name: row[name] for name in _SEEN}
    return f"{polar_name(row['layer'], row['neuron'], row['polarity'])}@{content_hash(seen)[:12]}"


_STALE = pl.Schema(
    {
        "side": pl.String(),
        "layer": pl.Int16(),
        "neuron": pl.Int32(),
        "polarity": pl.Int8(),
        "labeler": pl.String(),
        "changed": pl.List(pl.String()),
    }
)


def stale_labels(labels: Tables) -> pl.DataFrame:
    """Labels that were made from neighbour labels which have changed or gone since.

    `labels` holds `output_labels` and, where they exist, `input_labels`, of all layers. Returns one row per stale label: side,
    layer, neuron, polarity, labeler and `changed`, the recorded neighbours (`L18/N6721+@<hash>`) that no longer stand.
    """
    frames = [table.collect() for table in with_side(labels)]
    refs = [label_ref(row) for frame in frames for row in rows_of(best_labels(frame))]
    current = pl.DataFrame({"changed": refs}, schema={"changed": pl.String()}).unique()
    key = [name for name in _STALE if name != "changed"]
    found = [
        frame.with_columns(changed=pl.col("neighbours"))
        .select(*_STALE)
        .explode("changed")
        .drop_nulls("changed")
        .join(current, on="changed", how="anti")
        .group_by(key)
        .agg(pl.col("changed").sort())
        for frame in frames
    ]
    return pl.concat([pl.DataFrame(schema=_STALE), *found], how="vertical_relaxed").sort(key)
