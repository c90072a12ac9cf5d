"""Searching the labels of a NeuronDB by meaning, by words or both.

How a search goes is in core/publication/search/label_search.py; here are the three rankings in PostgreSQL: the nearest vectors
(`nearest.py`), BM25 over plain tables, and the list by score. The conditions are part of every statement, never applied to what
another one found, so they cannot cost results.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector

from neuron_atlas.adapters.neuron_db.nearest import EXACT_ROWS, Scope, distance_to, nearest, run
from neuron_atlas.adapters.neuron_db.stored_records import LabelSet
from neuron_atlas.adapters.postgres import Connection, escape_text
from neuron_atlas.adapters.sql import bm25_sql, where
from neuron_atlas.core.ports import Embedder
from neuron_atlas.core.publication.search.label_search import search_labels
from neuron_atlas.core.publication.search.search_query import (
    ANY_LABEL,
    LabelConditions,
    Mode,
    SearchQuery,
    check_embedder,
)
from neuron_atlas.core.publication.search.search_result import SELECTED, TIES, Hit, SearchResult
from neuron_atlas.errors import BadInput

NEURONS = "(select layer, neuron, cluster_path from neuron_db.neurons where model = :model) as of_model"
Vector = NDArray[np.float32]


def search(
    connection: Connection,
    label_set: LabelSet,
    query: SearchQuery,
    *,
    mode: Mode = "hybrid",
    embedder: Embedder | None = None,
    filters: LabelConditions = ANY_LABEL,
    limit: int = 20,
    exact_rows: int = EXACT_ROWS,
) -> SearchResult:
    """The label records that meet the conditions `filters` and match `query` best (see `LabelSearch.search`).

    `embedder` makes the vector of a text; by words and for a vector none is needed. Raises `BadInput` for a query that
    cannot be answered: empty, embedded by another embedder, of another dimension, or a limit outside 1..1000; `UnknownName` for
    a cluster that does not exist.
    """
    scope = Scope(label_set, where(filters, neurons=NEURONS))
    rankings = _NeuronDbRankings(connection, scope, embedder, exact_rows)
    return search_labels(rankings, query, mode=mode, limit=limit, cluster=filters.cluster)


class _NeuronDbRankings:
    """The label records of a scope, ranked (see `LabelRankings`)."""

    why_no_vectors: str | None = None

    def __init__(
        self,
        connection: Connection,
        scope: Scope,
        embedder: Embedder | None,
        exact_rows: int,
    ) -> None:
        self._connection, self._scope, self._embedder, self._exact_rows = connection, scope, embedder, exact_rows
        self.embedder_id, self.dimension = scope.label_set.embedder, scope.label_set.dimension

    @property
    def why_no_words(self) -> str | None:
        held = self._scope.label_set
        return None if held.mean_length is not None else f"the words of label set {held.version!r} are not indexed"

    def cluster_paths(self) -> list[str]:
        query = "select distinct cluster_path from neuron_db.neurons where model = %s and cluster_path is not null"
        return [str(path) for (path,) in self._connection.execute(query, [self._scope.label_set.model])]

    def embed(self, text: str) -> Vector:
        if self._embedder is None:
            raise BadInput(f"searching by text needs the embedder {self.embedder_id!r}; give it, or a vector")
        check_embedder(self.embedder_id, self._embedder.embedder_id)
        return self._embedder.embed([text])[0]

    def by_score(self, *, limit: int) -> tuple[Hit, ...]:
        query = (
            f"select {SELECTED} from {self._scope.label_set.table('descriptions')} where {self._scope.text} "
            f"order by score desc nulls last, {TIES} limit :limit"
        )
        return run(self._connection, query, self._scope.values(limit=limit))

    def by_words(
        self, terms: list[str], vector: Vector | None, *, limit: int, share_whole: float = 0.0
    ) -> tuple[Hit, ...]:
        held = self._scope.label_set
        query = bm25_sql(
            documents=f"(select document, length from {held.table('descriptions')} where {self._scope.text})",
            terms=held.table("terms"),
            postings=held.table("postings"),
            then=f", best as (select {SELECTED}, text_key, words_score from ranked "
            f"join {held.table('descriptions')} using (document) where share_whole >= :share_whole "
            f"order by words_score desc, {TIES} limit :limit) "
            f"select {SELECTED}, {'cast(null as float8)' if vector is None else f'1 - ({distance_to(held)})'} as similarity, "
            f"words_score from best join {held.table('embeddings')} using (text_key) order by words_score desc, {TIES}",
        )
        asked = {"words": [escape_text(term) for term in terms], "n_words": len(terms), "share_whole": share_whole}
        corpus = {"n_documents": held.n_documents, "mean_length": held.mean_length or 1.0}
        given = None if vector is None else _vector_text(vector)
        return run(self._connection, query, self._scope.values(**asked, **corpus, vector=given, limit=limit))

    def by_meaning(self, vector: Vector, *, limit: int) -> SearchResult:
        return nearest(self._connection, self._scope, _vector_text(vector), limit=limit, exact_rows=self._exact_rows)


def _vector_text(vector: Vector) -> str:
    return HalfVector(vector).to_text()
