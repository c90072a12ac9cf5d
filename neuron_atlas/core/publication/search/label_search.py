"""How labels are searched, the same in every store.

A query is checked, then answered in one of four ways: without a text the records are listed by score; by words (BM25); by
meaning (cosine of vectors); or by both rankings, fused (`rank_fusion.py`). Where a store lacks vectors or an index of words,
the search is by what it has and the result says so. A store supplies only the rankings: `LabelRankings`, fulfilled by
`adapters/atlas_duckdb/label_search.py` and `adapters/neuron_db/label_search.py`.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from neuron_atlas.core.publication.search.bm25 import query_terms, required_query_terms
from neuron_atlas.core.publication.search.rank_fusion import SHARE_WHOLE, fuse_rankings, fusion_depth
from neuron_atlas.core.publication.search.search_query import (
    ANY_LABEL,
    LabelConditions,
    Mode,
    SearchQuery,
    check_query,
    check_vector,
)
from neuron_atlas.core.publication.search.search_result import Hit, SearchResult
from neuron_atlas.errors import BadInput, UnknownName

Vector = NDArray[np.float32]
RELOAD = "Load the labels again: neuron-atlas build-db"


class LabelSearch(Protocol):
    """A store of labels that can be searched: a NeuronDB, or `labels` of an atlas."""

    def search(
        self,
        query: SearchQuery = None,
        *,
        mode: Mode = "hybrid",
        filters: LabelConditions = ANY_LABEL,
        limit: int = 20,
    ) -> SearchResult:
        """The label records that meet the conditions `filters` and match `query` best, best first.

        `query` is a text, a vector [dimension] of the embedder the labels were embedded with, or nothing: then what meets the
        conditions comes best score first. By meaning or both (`mode`) there are never fewer than `limit` hits where that many meet
        the conditions; by words those are found that hold one of the words. Raises `BadInput` for a query that cannot be
        answered, `UnknownName` for a cluster that does not exist.
        """
        ...


class LabelRankings(Protocol):
    """What one store supplies for one search: its labels under the search's conditions, ranked in three ways."""

    @property
    def embedder_id(self) -> str:
        """Name of the embedder that made the stored vectors."""
        ...

    @property
    def dimension(self) -> int:
        """Length of the stored vectors."""
        ...

    @property
    def why_no_vectors(self) -> str | None:
        """Why the store cannot rank by meaning, as half a sentence for the reader; None when it can."""
        ...

    @property
    def why_no_words(self) -> str | None:
        """Why the store cannot rank by words; None when it can."""
        ...

    def cluster_paths(self) -> list[str]:
        """Every module path that a neuron of the store has."""
        ...

    def embed(self, text: str) -> Vector:
        """The vector of a search text. Raises `BadInput` when the embedder at hand is not the stored vectors'."""
        ...

    def by_score(self, *, limit: int) -> tuple[Hit, ...]:
        """The records of best score."""
        ...

    def by_words(
        self, terms: list[str], vector: Vector | None, *, limit: int, share_whole: float = 0.0
    ) -> tuple[Hit, ...]:
        """The records with most of the terms, at least `share_whole` of them as whole words, with their similarity to `vector`
        where one is given."""
        ...

    def by_meaning(self, vector: Vector, *, limit: int) -> SearchResult:
        """The records nearest to a vector, how they were found, and what the reader should know of that."""
        ...


def search_labels(
    store: LabelRankings, query: SearchQuery, *, mode: Mode, limit: int, cluster: str | None = None
) -> SearchResult:
    """The answer of `store` to a query; see `LabelSearch.search`. `cluster` is the one that the conditions name, if any."""
    check_query(query, limit=limit, mode=mode)
    if cluster is not None:
        _check_cluster(cluster, store.cluster_paths())
    if query is None:
        return SearchResult(store.by_score(limit=limit), "listing")
    if isinstance(query, str) and mode == "words":
        if store.why_no_words is not None:
            raise BadInput(f"{store.why_no_words}. {RELOAD}")
        return SearchResult(store.by_words(required_query_terms(query), None, limit=limit), "listing")
    if store.why_no_vectors is not None:
        if not isinstance(query, str) or mode == "meaning":
            raise BadInput(
                f"cannot search by meaning: {store.why_no_vectors}. Search by words (mode 'words') meanwhile"
            )
        hits = store.by_words(required_query_terms(query), None, limit=limit)
        return SearchResult(hits, "listing", (f"searched by words alone: {store.why_no_vectors}",))
    vector = store.embed(query) if isinstance(query, str) else query
    check_vector(vector, dimension=store.dimension, embedder=store.embedder_id)
    if not isinstance(query, str) or mode == "meaning":
        return store.by_meaning(vector, limit=limit)
    return _by_both(store, query, vector, limit=limit)


def _by_both(store: LabelRankings, query: str, vector: Vector, *, limit: int) -> SearchResult:
    near = store.by_meaning(vector, limit=fusion_depth(limit))
    if store.why_no_words is not None:
        warning = f"{store.why_no_words}; searched by meaning alone. {RELOAD}"
        return SearchResult(near.hits[:limit], near.method, (*near.warnings, warning))
    terms = query_terms(query)
    by_words = store.by_words(terms, vector, limit=fusion_depth(limit), share_whole=SHARE_WHOLE) if terms else ()
    return SearchResult(fuse_rankings(near.hits, by_words, limit=limit), near.method, near.warnings)


def _check_cluster(path: str, known: list[str]) -> None:
    if not any(name == path or name.startswith(f"{path}.") for name in known):
        raise UnknownName("cluster", path, known)
