"""Label tables as descriptions: what a search looks through, one row per neuron, polarity, side and labeler."""

from __future__ import annotations

import re
from collections.abc import Mapping

import polars as pl

from neuron_atlas.core.labeling.evidence.precedence import LABELERS, METRICS
from neuron_atlas.core.publication.search.bm25 import WordIndex, fields_of, index_words
from neuron_atlas.core.records import Tables
from neuron_atlas.core.tables import INPUT_LABELS, LABEL_SCORES, OUTPUT_LABELS, Table
from neuron_atlas.errors import Incomplete

DESCRIPTION: dict[str, pl.DataType] = {
    "layer": pl.Int16(), "neuron": pl.Int32(), "polarity": pl.Int8(), "side": pl.String(), "labeler": pl.String(),
    "labeler_version": pl.String(), "is_preferred": pl.Boolean(), "label": pl.String(), "description": pl.String(),
    "unlabeled_reason": pl.String(), "type": pl.String(), "direction": pl.Int8(), "confidence": pl.Float32(),
    "tokens": pl.List(pl.String()), "evidence_hash": pl.String(), "metric": pl.String(), "score": pl.Float32(),
    "measured": pl.Float32(), "ci_low": pl.Float32(), "ci_high": pl.Float32(), "n_scored": pl.Int32(),
    "interpretability": pl.String(),
}  # fmt: skip
"""Columns of a description. `score` is corrected for chance, `measured` is the metric itself, with its interval."""
KEY = ("layer", "neuron", "polarity", "side", "labeler")
_OPENING = re.compile(r"^\W*(?:promotes|suppresses|fires (?:on|in|at)|gates off|routes to)\s+", re.IGNORECASE)
_QUOTES = str.maketrans("", "", '“”"')


def described(tables: Tables) -> pl.DataFrame:
    """The descriptions of `output_labels` and `input_labels` (one of them at least), each with its best-measured score of
    `label_scores` and whether its labeler is the preferred one; in key order. Raises `Incomplete` without any labels."""
    given = {"output": OUTPUT_LABELS, "input": INPUT_LABELS}
    sides = [
        whole(tables, table).with_columns(side=pl.lit(side)) for side, table in given.items() if table.name in tables
    ]
    if not sides:
        raise Incomplete("no labels to load; materialize output_labels or input_labels first")
    labels = pl.concat(sides).rename({"version": "labeler_version"})
    scores = (
        whole(tables, LABEL_SCORES)
        .filter(pl.col("corrected").is_not_null(), pl.col("metric").is_in(METRICS))
        .with_columns(order=_order("metric", METRICS))
        .sort(*KEY, "order", "metric")
        .unique(KEY, keep="first", maintain_order=True)
        .select(
            *KEY, "metric", "ci_low", "ci_high", "interpretability",
            score="corrected", measured="score", n_scored="n",
        )
    )  # fmt: skip
    return preferred(labels.join(scores, on=KEY, how="left"))


def preferred(descriptions: pl.DataFrame) -> pl.DataFrame:
    """Descriptions in key order with `is_preferred` set: of each neuron, polarity and side the row that holds a label before
    one that does not, then the labeler most trusted (`LABELERS`), then by name."""
    return (
        descriptions.with_columns(unlabeled=pl.col("label").is_null(), order=_order("labeler", LABELERS))
        .sort(*KEY[:4], "unlabeled", "order", "labeler")
        .with_columns(is_preferred=pl.int_range(pl.len()).over(KEY[:4]) == 0)
        .sort(KEY)
        .select(list(DESCRIPTION))
    )


def numbered(
    descriptions: pl.DataFrame, texts: Mapping[str, int], *, first_document: int = 0
) -> tuple[pl.DataFrame, WordIndex]:
    """The descriptions with three more columns, missing where there is no label, and the index of their words.

    `text_key` is the number that `texts` gives their label, `document` counts labeled descriptions, `length` is that of the
    document in weighted words.
    """
    labeled = pl.col("label").is_not_null()
    rows = descriptions.with_columns(
        text_key=pl.col("label").replace_strict(texts, default=None, return_dtype=pl.Int32),
        document=pl.when(labeled).then(labeled.cum_sum() - 1 + first_document).cast(pl.Int32),
    )
    words = index_words(fields_of(rows))
    return rows.join(words.documents, on="document", how="left", maintain_order="left"), words


def meant(label: str) -> str:
    """What of a label is embedded: it without quotation marks and the verb it opens with. All labels share those, which draws their
    vectors together whatever they are about; side and direction are columns of their own."""
    return _OPENING.sub("", label.translate(_QUOTES)).strip() or label


def whole(tables: Tables, table: Table) -> pl.DataFrame:
    """A given table, checked; empty when it was not given."""
    return table.checked(tables[table.name].collect()) if table.name in tables else table.empty()


def _order(column: str, names: tuple[str, ...]) -> pl.Expr:
    """A column's place in a list of names; unknown names come last."""
    places = {name: place for place, name in enumerate(names)}
    return pl.col(column).replace_strict(places, default=len(names), return_dtype=pl.Int32)
