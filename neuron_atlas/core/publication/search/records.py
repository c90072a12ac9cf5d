"""A question to a store of labels, and its answer."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neuron_atlas.core.records import NeuronId
from neuron_atlas.errors import BadInput

Mode: TypeAlias = Literal["hybrid", "meaning", "words"]
"""How labels are ranked: by the similarity of vectors, by the words they share with the question (BM25), or by both."""
Method: TypeAlias = Literal["index", "exact", "listing"]
"""How the nearest vectors were found; `listing` when none were asked for."""
Question: TypeAlias = str | NDArray[np.float32] | None
"""A text, a vector [dimension] of the store's embedder, or nothing: then whatever passes the filters."""

RECALL_NEEDED = 0.98
"""Below this share of true neighbours found, an index is not trusted and searches scan exactly."""
MAX_LIMIT = 1000
MAX_QUERY = 1000
"""Longest question, in characters."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What a description must fulfil to be found; everything is optional and all of it holds at once.

    `layers` is inclusive at both ends, either may be None. `keyword` is plain text, not a pattern, without regard to case,
    in the label, the description or a token. `min_score` is the score corrected for chance; what has no score is left out
    then. `cluster` is a module path and stands for everything inside it: `3` holds `3.1`. `only_preferred` keeps the best
    labeler's answer for each neuron, polarity and side; naming a `labeler` asks for that one's answers, preferred or not.
    """

    layers: tuple[int | None, int | None] | None = None
    neurons: Collection[NeuronId] | None = None
    polarity: Literal[1, -1] | None = None
    side: Literal["output", "input"] | None = None
    min_score: float | None = None
    keyword: str | None = None
    type: str | None = None
    labeler: str | None = None
    cluster: str | None = None
    only_preferred: bool = True


EVERYTHING = Filters()


@dataclass(frozen=True, slots=True)
class Hit:
    """One description that was found. `similarity` is the cosine with the question, `words_score` its BM25; either is missing
    where it was not computed."""

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
    similarity: float | None = None
    words_score: float | None = None

    @property
    def id(self) -> NeuronId:
        """The neuron."""
        return NeuronId(self.layer, self.neuron)

    @property
    def key(self) -> tuple[int, int, int, str, str]:
        """Which description this is: layer, neuron, polarity, side, labeler."""
        return self.layer, self.neuron, self.polarity, self.side, self.labeler


HIT_SCHEMA: dict[str, pl.DataType] = {
    "layer": pl.Int16(), "neuron": pl.Int32(), "polarity": pl.Int8(), "side": pl.String(), "labeler": pl.String(),
    "label": pl.String(), "description": pl.String(), "type": pl.String(), "direction": pl.Int8(), "confidence": pl.Float32(),
    "tokens": pl.List(pl.String()), "metric": pl.String(), "score": pl.Float32(), "interpretability": pl.String(),
    "similarity": pl.Float32(), "words_score": pl.Float32(),
}  # fmt: skip
SELECTED = ", ".join(name for name in HIT_SCHEMA if name not in ("similarity", "words_score"))
"""The columns of a hit that a store of descriptions holds."""
TIES = "layer, neuron, polarity, side, labeler"
"""The order of descriptions that are equally good."""


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a search: hits, best first; how they were found; and what the reader should know."""

    hits: tuple[Hit, ...]
    method: Method
    warnings: tuple[str, ...] = ()

    @property
    def frame(self) -> pl.DataFrame:
        """The hits as a table."""
        return pl.DataFrame([asdict(hit) for hit in self.hits], schema=HIT_SCHEMA)


def check_question(query: Question, *, limit: int, mode: str) -> None:
    """Raises `BadInput` for a question that no store can answer."""
    if not 1 <= limit <= MAX_LIMIT:
        raise BadInput(f"limit is {limit}; expected 1 to {MAX_LIMIT}")
    if mode not in get_args(Mode):
        raise BadInput(f"mode is {mode!r}; expected one of {', '.join(get_args(Mode))}")
    if isinstance(query, str):
        if not query.strip():
            raise BadInput("the search text is empty; expected a few words, or no text at all to list by score")
        if len(query) > MAX_QUERY:
            raise BadInput(f"the search text has {len(query)} characters; expected at most {MAX_QUERY}")
    elif query is not None and mode == "words":
        raise BadInput("a search by words needs a text; got a vector")


def check_vector(vector: NDArray[np.float32], *, dimension: int, embedder: str) -> None:
    """Raises `BadInput` for a vector that cannot be compared with those of `embedder`."""
    if vector.shape != (dimension,) or not np.isfinite(vector).all() or not vector.any():
        raise BadInput(
            f"the search vector has shape {vector.shape}; expected {dimension} finite numbers, not all zero, of {embedder!r}"
        )


def check_embedder(stored: str, given: str) -> None:
    """Raises `BadInput` when a question would be embedded by another embedder than the labels were."""
    if stored != given:
        raise BadInput(
            f"these labels were embedded by {stored!r}, the question would be by {given!r}; vectors of different embedders "
            "cannot be compared. Use that one (NEURON_ATLAS_EMBEDDER), or load the labels again with this one: "
            "neuron-atlas build-db"
        )
