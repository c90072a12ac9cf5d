"""What can be asked of a store of labels, and what is refused before any store is asked."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from neuron_atlas.core.layer_ranges import LayerRange, LayerRanges
from neuron_atlas.core.records import NeuronId
from neuron_atlas.errors import BadInput

Mode: TypeAlias = Literal["hybrid", "meaning", "words"]
"""How labels are ranked: by the similarity of vectors, by the words they share with the query (BM25), or by both."""
SearchQuery: TypeAlias = str | NDArray[np.float32] | None
"""A text, a vector [dimension] of the store's embedder, or None: then every label that meets the conditions is listed."""

MAX_LIMIT = 1000
MAX_QUERY = 1000
"""Longest search text, in characters."""


@dataclass(frozen=True, slots=True)
class LabelConditions:
    """What a label record must fulfil to be found; everything is optional and all of it holds at once.

    `layers` is a text such as `2..5` or `2,4..6` (`core/layer_ranges.py`), or a pair (first, last) of which either may be None;
    both ends are included. `keyword` is plain text, not a pattern, without regard to case, in the label, its description or a
    token. `min_score` is the score corrected for chance; records without a score are left out then. `cluster` is a module path and
    includes the modules inside it: `3` includes `3.1`. `only_preferred` keeps the most trusted labeler's record for each neuron,
    polarity and side; naming a `labeler` asks for that one's records, preferred or not.
    """

    layers: str | LayerRange | LayerRanges | None = None
    neurons: Collection[NeuronId] | None = None
    polarity: Literal[1, -1] | None = None
    side: Literal["output", "input"] | None = None
    min_score: float | None = None
    keyword: str | None = None
    type: str | None = None
    labeler: str | None = None
    cluster: str | None = None
    only_preferred: bool = True


ANY_LABEL = LabelConditions()


def check_query(query: SearchQuery, *, limit: int, mode: str) -> None:
    """Raises `BadInput` for a query that no store can answer."""
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
    """Raises `BadInput` when a query would be embedded by another embedder than the labels were."""
    if stored != given:
        raise BadInput(
            f"these labels were embedded by {stored!r}, the question would be by {given!r}; vectors of different embedders "
            "cannot be compared. Use that one (NEURON_ATLAS_EMBEDDER), or load the labels again with this one: "
            "neuron-atlas build-db"
        )
