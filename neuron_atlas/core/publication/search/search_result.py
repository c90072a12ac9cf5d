"""What a store of labels answers: hits, best first, and how they were found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

import polars as pl

from neuron_atlas.core.publication.search.label_records import LABEL_KEY, KeyedLabel

Method: TypeAlias = Literal["index", "exact", "listing"]
"""How the nearest vectors were found; `listing` when none were asked for."""

RECALL_NEEDED = 0.98
"""Below this share of true neighbours found, an index is not trusted and searches compare with every vector."""


@dataclass(frozen=True, slots=True)
class Hit(KeyedLabel):
    """One label record that was found. `similarity` is the cosine with the query, `words_score` its BM25; either is missing
    where it was not computed."""

    label: str
    description: str | None
    type: str
    direction: int
    confidence: float | None
    tokens: list[str]
    metric: str | None
    score: float | None
    interpretability: str | None
    similarity: float | None = None
    words_score: float | None = None


HIT_SCHEMA: dict[str, pl.DataType] = {
    "layer": pl.Int16(), "neuron": pl.Int32(), "polarity": pl.Int8(), "side": pl.String(), "labeler": pl.String(),
    "label": pl.String(), "description": pl.String(), "type": pl.String(), "direction": pl.Int8(), "confidence": pl.Float32(),
    "tokens": pl.List(pl.String()), "metric": pl.String(), "score": pl.Float32(), "interpretability": pl.String(),
    "similarity": pl.Float32(), "words_score": pl.Float32(),
}  # fmt: skip
SELECTED = ", ".join(name for name in HIT_SCHEMA if name not in ("similarity", "words_score"))
"""The columns of a hit that a store of labels holds."""
TIES = ", ".join(LABEL_KEY)
"""The order of label records that are equally good."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The answer to a search: hits, best first; how they were found; and warnings for the reader."""

    hits: tuple[Hit, ...]
    method: Method
    warnings: tuple[str, ...] = ()

    @property
    def frame(self) -> pl.DataFrame:
        """The hits as a table."""
        return pl.DataFrame([asdict(hit) for hit in self.hits], schema=HIT_SCHEMA)
