"""What goes into NeuronDB and what comes out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Literal

import polars as pl

from neuron_atlas.core.records import NeuronId

RECALL_NEEDED = 0.95
"""Below this the index is not trusted and searches scan exactly."""


@dataclass(frozen=True, slots=True)
class LabelSet:
    """One load: the labels of one model under one version name, and how they were embedded."""

    label_set: int
    model_id: str
    revision: str
    version: str
    embedder: str
    dimension: int
    content_hash: str
    n_descriptions: int
    n_unlabeled: int
    recall: float | None


@dataclass(frozen=True, slots=True)
class Filters:
    """What a description must fulfil to be found; everything is optional and all of it holds at once.

    `layers` is inclusive at both ends, either may be None. `keyword` is plain text, not a pattern, without regard to case,
    in the label, the description or a token. `min_score` is the score corrected for chance; what has no score is left out
    then. `only_preferred` keeps the best labeler's answer for each neuron, polarity and side.
    """

    layers: tuple[int | None, int | None] | None = None
    neurons: Collection[NeuronId] | None = None
    polarity: Literal[1, -1] | None = None
    side: Literal["output", "input"] | None = None
    min_score: float | None = None
    keyword: str | None = None
    type: str | None = None
    labeler: str | None = None
    only_preferred: bool = True


@dataclass(frozen=True, slots=True)
class Hit:
    """One description that was found. `similarity` is the cosine with the question, missing without one."""

    layer: int
    neuron: int
    polarity: int
    side: str
    labeler: str
    label: str
    description: str | None
    type: str
    direction: int
    confidence: float | None
    tokens: list[str]
    metric: str | None
    score: float | None
    interpretability: str | None
    similarity: float | None

    @property
    def id(self) -> NeuronId:
        """The neuron."""
        return NeuronId(self.layer, self.neuron)


HIT_SCHEMA: dict[str, pl.DataType] = {
    "layer": pl.Int16(), "neuron": pl.Int32(), "polarity": pl.Int8(), "side": pl.String(), "labeler": pl.String(),
    "label": pl.String(), "description": pl.String(), "type": pl.String(), "direction": pl.Int8(), "confidence": pl.Float32(),
    "tokens": pl.List(pl.String()), "metric": pl.String(), "score": pl.Float32(), "interpretability": pl.String(),
    "similarity": pl.Float32(),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a search: hits, best first; how they were found; and what the reader should know."""

    hits: tuple[Hit, ...]
    method: Literal["index", "exact", "listing"]
    warnings: tuple[str, ...] = ()

    @property
    def frame(self) -> pl.DataFrame:
        """The hits as a table."""
        return pl.DataFrame([asdict(hit) for hit in self.hits], schema=HIT_SCHEMA)


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load did. `is_new` is False when the database held exactly this already and nothing was written."""

    label_set: LabelSet
    n_texts: int
    n_quantiles: int
    n_exemplars: int
    is_new: bool


@dataclass(frozen=True, slots=True)
class RecallReport:
    """The index against an exact scan: share of the true k nearest that it finds, over n questions."""

    recall: float
    worst: float
    k: int
    n: int

    @property
    def is_good(self) -> bool:
        """Whether searches may use the index."""
        return self.recall >= RECALL_NEEDED
