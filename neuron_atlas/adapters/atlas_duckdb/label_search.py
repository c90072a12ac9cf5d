"""Searching the labels of an atlas by meaning, by words or both (`Atlas.labels`).

How a search goes is in core/publication/search/label_search.py; here are the three rankings over the tables that
`search_index.py` writes: BM25 over plain tables, and an exact scan of the labels' vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from neuron_atlas.adapters.atlas_duckdb.schema import REBUILD
from neuron_atlas.adapters.atlas_duckdb.search_index import NO_EMBEDDER
from neuron_atlas.adapters.sql import Where, bm25_sql, for_duckdb, where
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

Vector = NDArray[np.float32]


class AtlasLabels:
    """The labels of an atlas as a `LabelSearch`: the same questions and answers as NeuronDB's."""

    def __init__(
        self,
        cursor: Callable[[], duckdb.DuckDBPyConnection],
        *,
        metadata: Mapping[str, str],
        embedder: Embedder | None,
        weights: Path,
    ) -> None:
        """`cursor` gives a connection for one call; `weights` is a folder where the embedder may be found when none is given."""
        self._cursor = cursor
        self._stored = metadata.get("embedder", NO_EMBEDDER)
        self._dimension = int(metadata.get("embedder_dimension", 0))
        self._embedder = embedder
        self._weights = weights

    def search(
        self,
        query: SearchQuery = None,
        *,
        mode: Mode = "hybrid",
        filters: LabelConditions = ANY_LABEL,
        limit: int = 20,
    ) -> SearchResult:
        """See `LabelSearch.search`. In an atlas that was built without an embedder, a search by both is one by words, and says so;
        one by meaning raises `BadInput`."""
        condition = where(filters, neurons="neurons")
        rankings = _AtlasRankings(self._cursor(), condition, self._stored, self._dimension, self.embedded)
        return search_labels(rankings, query, mode=mode, limit=limit, cluster=filters.cluster)

    def embedded(self, text: str) -> Vector:
        """The vector of a search text, by the embedder that the labels were embedded with."""
        if self._embedder is None:
            from neuron_atlas.adapters.embedder import stored_embedder

            self._embedder = stored_embedder(self._stored, folder=self._weights)
        check_embedder(self._stored, self._embedder.embedder_id)
        return self._embedder.embed([text])[0]


class _AtlasRankings:
    """The label records that meet an SQL condition, ranked (see `LabelRankings`)."""

    why_no_words: str | None = None

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        condition: Where,
        embedder_id: str,
        dimension: int,
        embed: Callable[[str], Vector],
    ) -> None:
        self._connection, self._condition, self._embed = connection, condition, embed
        self.embedder_id, self.dimension = embedder_id, dimension

    @property
    def why_no_vectors(self) -> str | None:
        no_vectors = f"this atlas holds no vectors of its labels; {REBUILD} adds them"
        return no_vectors if self.embedder_id == NO_EMBEDDER else None

    def cluster_paths(self) -> list[str]:
        query = "select distinct cluster_path from neurons where cluster_path is not null"
        return [str(path) for (path,) in self._connection.execute(query).fetchall()]

    def embed(self, text: str) -> Vector:
        return self._embed(text)

    def by_score(self, *, limit: int) -> tuple[Hit, ...]:
        query = (
            f"select {SELECTED} from descriptions where label is not null and ({self._condition.text}) "
            f"order by score desc nulls last, {TIES} limit :limit"
        )
        return self._hits(query, {"limit": limit})

    def by_words(
        self, terms: list[str], vector: Vector | None, *, limit: int, share_whole: float = 0.0
    ) -> tuple[Hit, ...]:
        similarity = (
            "cast(null as real)" if vector is None else f"array_inner_product(embedding, {_vector_sql(vector)})"
        )
        query = bm25_sql(
            documents=f"(select document, length from descriptions where document is not null and ({self._condition.text}))",
            terms="label_terms",
            postings="label_postings",
            then=f", best as (select {SELECTED}, text_key, words_score from ranked join descriptions using (document) "
            f"where share_whole >= :share_whole order by words_score desc, {TIES} limit :limit) "
            f"select {SELECTED}, {similarity} as similarity, words_score from best "
            f"{'' if vector is None else 'join label_texts using (text_key) '}order by words_score desc, {TIES}",
        )
        (n_documents, mean_length), *_ = self._connection.execute(
            "select count(length), avg(length) from descriptions"
        ).fetchall()
        given = None if vector is None else vector.tolist()
        asked = {"words": terms, "n_words": len(terms), "share_whole": share_whole, "limit": limit, "vector": given}
        return self._hits(query, {**asked, "n_documents": n_documents, "mean_length": mean_length or 1.0})

    def by_meaning(self, vector: Vector, *, limit: int) -> SearchResult:
        """By comparing with every label that passes: a scan of the vectors takes some tens of milliseconds."""
        query = (
            f"with passing as (select {SELECTED}, text_key from descriptions "
            f"where text_key is not null and ({self._condition.text})), "
            f"near as (select text_key, array_inner_product(embedding, {_vector_sql(vector)}) as similarity from label_texts "
            "where text_key in (select text_key from passing) order by similarity desc, text_key limit :limit) "
            f"select {SELECTED}, similarity from near join passing using (text_key) "
            f"order by similarity desc, {TIES} limit :limit"
        )
        return SearchResult(self._hits(query, {"vector": vector.tolist(), "limit": limit}), "exact")

    def _hits(self, query: str, values: Mapping[str, object]) -> tuple[Hit, ...]:
        text, bound = for_duckdb(query, {**self._condition.values, **values})
        rows = self._connection.query(text, params=bound)
        return tuple(Hit(**dict(zip(rows.columns, row, strict=True))) for row in rows.fetchall())


def _vector_sql(vector: Vector) -> str:
    return f"cast(:vector as float[{len(vector)}])"
