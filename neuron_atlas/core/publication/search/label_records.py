"""Label records: what a search looks through, one row per neuron, polarity, side and labeler, made of the label tables.

A record is the labeler's answer (or why it gave none), the best-measured score of it, and whether it is the one shown for its
neuron, polarity and side. Both stores keep records under the name `descriptions`, with the columns of `LABEL_RECORD`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import polars as pl

from neuron_atlas.core.labeling.evidence.shown_label import best_scores, shown_first
from neuron_atlas.core.publication.search.bm25 import Bm25Index, bm25_index, label_fields
from neuron_atlas.core.records import NeuronId, Tables
from neuron_atlas.core.tables import INPUT_LABELS, LABEL_SCORES, OUTPUT_LABELS, Table
from neuron_atlas.errors import Incomplete

LABEL_RECORD: dict[str, pl.DataType] = {
    "layer": pl.Int16(), "neuron": pl.Int32(), "polarity": pl.Int8(), "side": pl.String(), "labeler": pl.String(),
    "labeler_version": pl.String(), "is_preferred": pl.Boolean(), "label": pl.String(), "description": pl.String(),
    "unlabeled_reason": pl.String(), "type": pl.String(), "direction": pl.Int8(), "confidence": pl.Float32(),
    "tokens": pl.List(pl.String()), "evidence_hash": pl.String(), "metric": pl.String(), "score": pl.Float32(),
    "measured": pl.Float32(), "ci_low": pl.Float32(), "ci_high": pl.Float32(), "n_scored": pl.Int32(),
    "interpretability": pl.String(),
}  # fmt: skip
"""Columns of a label record. `description` is the longer text beside the label; `score` is corrected for chance, `measured` is
the metric itself, with its interval."""
LABEL_KEY = ("layer", "neuron", "polarity", "side", "labeler")
LabelKey: TypeAlias = tuple[int, int, int, str, str]
"""Layer, neuron, polarity, side, labeler."""
_OPENING = re.compile(r"^\W*(?:promotes|suppresses|fires (?:on|in|at)|gates off|routes to)\s+", re.IGNORECASE)
_QUOTES = str.maketrans("", "", '“”"')


@dataclass(frozen=True, slots=True)
class KeyedLabel:
    """The fields that say which label record this is."""

    layer: int
    neuron: int
    polarity: int
    side: str
    labeler: str

    @property
    def id(self) -> NeuronId:
        """The neuron."""
        return NeuronId(self.layer, self.neuron)

    @property
    def key(self) -> LabelKey:
        """Layer, neuron, polarity, side, labeler: no two records of a label set share it."""
        return self.layer, self.neuron, self.polarity, self.side, self.labeler


def label_records(tables: Tables) -> pl.DataFrame:
    """The records of `output_labels` and `input_labels` (one of them at least), in key order, with `is_preferred` set. Raises
    `Incomplete` without any labels."""
    return with_preferred(scored_labels(tables))


def scored_labels(tables: Tables) -> pl.DataFrame:
    """All labels of both sides, each with its best-measured score of `label_scores`: records but for `is_preferred`."""
    given = {"output": OUTPUT_LABELS, "input": INPUT_LABELS}
    sides = [
        checked_or_empty(tables, table).with_columns(side=pl.lit(side))
        for side, table in given.items()
        if table.name in tables
    ]
    if not sides:
        raise Incomplete("no labels to load; materialize output_labels or input_labels first")
    labels = pl.concat(sides).rename({"version": "labeler_version"})
    scores = (
        checked_or_empty(tables, LABEL_SCORES)
        .filter(pl.col("corrected").is_not_null())
        .pipe(best_scores, LABEL_KEY)
        .select(
            *LABEL_KEY, "metric", "ci_low", "ci_high", "interpretability",
            score="corrected", measured="score", n_scored="n",
        )
    )  # fmt: skip
    return labels.join(scores, on=LABEL_KEY, how="left")


def with_preferred(labels: pl.DataFrame) -> pl.DataFrame:
    """Records in key order with `is_preferred` set: true for the one of each neuron, polarity and side that is shown
    (core/labeling/evidence/shown_label.py)."""
    return (
        labels.sort(*LABEL_KEY[:4], *shown_first())
        .with_columns(is_preferred=pl.int_range(pl.len()).over(LABEL_KEY[:4]) == 0)
        .sort(LABEL_KEY)
        .select(list(LABEL_RECORD))
    )


def numbered_records(
    records: pl.DataFrame, texts: Mapping[str, int], *, first_document: int = 0
) -> tuple[pl.DataFrame, Bm25Index]:
    """The records with three more columns, missing where there is no label, and the index of their words.

    `text_key` is the number that `texts` gives their label, `document` counts records with a label, `length` is that of the
    document in weighted words.
    """
    labeled = pl.col("label").is_not_null()
    rows = records.with_columns(
        text_key=pl.col("label").replace_strict(texts, default=None, return_dtype=pl.Int32),
        document=pl.when(labeled).then(labeled.cum_sum() - 1 + first_document).cast(pl.Int32),
    )
    words = bm25_index(label_fields(rows))
    return rows.join(words.documents, on="document", how="left", maintain_order="left"), words


def text_to_embed(label: str) -> str:
    """What of a label is embedded: it without quotation marks and the verb it opens with. All labels share those, which draws their
    vectors together whatever they are about; side and direction are columns of their own."""
    return _OPENING.sub("", label.translate(_QUOTES)).strip() or label


def checked_or_empty(tables: Tables, table: Table) -> pl.DataFrame:
    """A given table, checked; empty when it was not given."""
    return table.checked(tables[table.name].collect()) if table.name in tables else table.empty()
