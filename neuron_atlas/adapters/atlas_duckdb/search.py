"""Searching an atlas: neurons by words (`Atlas.search`), and labels by meaning, by words or both (`Atlas.labels`), with the
tables of index.py: BM25 (core/search/words.py) and an exact scan of the labels' vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from neuron_atlas.adapters.atlas_duckdb.index import NO_EMBEDDER
from neuron_atlas.adapters.atlas_duckdb.schema import REBUILD, frame_of
from neuron_atlas.adapters.sql import Where, for_duckdb, where, words_sql
from neuron_atlas.core.ports import Embedder
from neuron_atlas.core.publication.search.bm25 import words_in, words_of
from neuron_atlas.core.publication.search.rank_fusion import SHARE_WHOLE, depth, merged
from neuron_atlas.core.publication.search.records import (
    EVERYTHING,
    SELECTED,
    TIES,
    Filters,
    Found,
    Hit,
    Mode,
    Question,
    check_embedder,
    check_question,
    check_vector,
)
from neuron_atlas.errors import BadInput, UnknownName

NEURON_COLUMNS = (
    "n.neuron_id, n.layer, n.neuron, cast(r.words_score as float8) as score, n.label, n.output_label, n.input_label, "
    "n.description, n.promotes, n.cluster_path, n.cluster_label, r.matched"
)


def search_neurons(
    connection: duckdb.DuckDBPyConnection, text: str, *, limit: int, layers: Sequence[int] | None
) -> pl.DataFrame:
    """Neurons whose labels, tokens, cluster or domain have words of a text, best first.

    Raises `BadInput` on a text without a letter or digit or of more than 1,000 characters.
    """
    words = words_of(text)
    (n_documents, mean_length), *_ = connection.execute("select count(*), avg(length) from search_documents").fetchall()
    query = words_sql(
        documents="(select document, length from search_documents where :layers is null or list_contains(:layers, layer))",
        terms="search_terms",
        postings="search_postings",
        then=f"select {NEURON_COLUMNS} from ranked as r join search_documents as d on d.document = r.document "
        "join neurons as n on n.layer = d.layer and n.neuron = d.neuron "
        "order by r.words_score desc, n.layer, n.neuron limit :limit",
    ).replace(":layers", "cast(:layers as int[])")
    asked = {"words": words, "n_words": len(words), "limit": limit, "layers": None if layers is None else list(layers)}
    return _frame(connection, query, {**asked, "n_documents": n_documents, "mean_length": mean_length or 1.0})


class AtlasLabels:
    """The labels of an atlas as `ports.LabelSearch`: the same questions and answers as NeuronDB's."""

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
        query: Question = None,
        *,
        mode: Mode = "hybrid",
        filters: Filters | Where = EVERYTHING,
        limit: int = 20,
    ) -> Found:
        """See `ports.LabelSearch`. In an atlas that was built without an embedder, a search by both is one by words, and says so;
        one by meaning raises `BadInput`."""
        check_question(query, limit=limit, mode=mode)
        connection = self._cursor()
        if isinstance(filters, Filters) and filters.cluster is not None:
            _refuse_unknown_cluster(connection, filters.cluster)
        passes = where(filters, neurons="neurons") if isinstance(filters, Filters) else filters
        if query is None:
            return Found(_listed(connection, passes, limit=limit), "listing")
        if isinstance(query, str) and mode == "words":
            return Found(_by_words(connection, passes, words_of(query), None, limit=limit), "listing")
        if self._stored == NO_EMBEDDER:
            missing = f"this atlas holds no vectors of its labels; {REBUILD} adds them"
            if not isinstance(query, str) or mode == "meaning":
                raise BadInput(f"cannot search by meaning: {missing}. Search by words (mode 'words') meanwhile")
            hits = _by_words(connection, passes, words_of(query), None, limit=limit)
            return Found(hits, "listing", (f"searched by words alone: {missing}",))
        vector = query if not isinstance(query, str) else self.embedded(query)
        check_vector(vector, dimension=self._dimension, embedder=self._stored)
        if not isinstance(query, str) or mode == "meaning":
            return Found(_by_meaning(connection, passes, vector, limit=limit), "exact")
        near = _by_meaning(connection, passes, vector, limit=depth(limit))
        words = words_in(query)
        said = (
            _by_words(connection, passes, words, vector, limit=depth(limit), share_whole=SHARE_WHOLE) if words else ()
        )
        return Found(merged(near, said, limit=limit), "exact")

    def embedded(self, text: str) -> NDArray[np.float32]:
        """The vector of a question, by the embedder that the labels were embedded with."""
        if self._embedder is None:
            from neuron_atlas.adapters.embedder import stored_embedder

            self._embedder = stored_embedder(self._stored, folder=self._weights)
        check_embedder(self._stored, self._embedder.embedder_id)
        return self._embedder.embed([text])[0]


def _by_meaning(
    connection: duckdb.DuckDBPyConnection, passes: Where, vector: NDArray[np.float32], *, limit: int
) -> tuple[Hit, ...]:
    """The descriptions nearest to a unit vector, by comparing with every label that passes."""
    query = (
        f"with passing as (select {SELECTED}, text_key from descriptions where text_key is not null and ({passes.text})), "
        "near as (select text_key, array_inner_product(embedding, {vector}) as similarity from label_texts "
        "where text_key in (select text_key from passing) order by similarity desc, text_key limit :limit) "
        f"select {SELECTED}, similarity from near join passing using (text_key) order by similarity desc, {TIES} limit :limit"
    ).replace("{vector}", _vector_sql(vector))
    return _hits(connection, query, {**passes.values, "vector": vector.tolist(), "limit": limit})


def _by_words(
    connection: duckdb.DuckDBPyConnection,
    passes: Where,
    words: list[str],
    vector: NDArray[np.float32] | None,
    *,
    limit: int,
    share_whole: float = 0.0,
) -> tuple[Hit, ...]:
    """The descriptions with most of the words, at least `share_whole` of them whole, with their similarity to the vector when one
    is given."""
    known = vector is not None
    similarity = f"array_inner_product(embedding, {_vector_sql(vector)})" if known else "cast(null as real)"
    query = words_sql(
        documents=f"(select document, length from descriptions where document is not null and ({passes.text}))",
        terms="label_terms",
        postings="label_postings",
        then=f", best as (select {SELECTED}, text_key, words_score from ranked join descriptions using (document) "
        f"where share_whole >= :share_whole order by words_score desc, {TIES} limit :limit) "
        f"select {SELECTED}, {similarity} as similarity, words_score from best "
        f"{'join label_texts using (text_key) ' if known else ''}order by words_score desc, {TIES}",
    )
    (n_documents, mean_length), *_ = connection.execute(
        "select count(length), avg(length) from descriptions"
    ).fetchall()
    given = None if vector is None else vector.tolist()
    asked = {"words": words, "n_words": len(words), "share_whole": share_whole, "limit": limit, "vector": given}
    return _hits(
        connection, query, {**passes.values, **asked, "n_documents": n_documents, "mean_length": mean_length or 1.0}
    )


def _listed(connection: duckdb.DuckDBPyConnection, passes: Where, *, limit: int) -> tuple[Hit, ...]:
    query = (
        f"select {SELECTED} from descriptions where label is not null and ({passes.text}) "
        f"order by score desc nulls last, {TIES} limit :limit"
    )
    return _hits(connection, query, {**passes.values, "limit": limit})


def _vector_sql(vector: NDArray[np.float32]) -> str:
    return f"cast(:vector as float[{len(vector)}])"


def _hits(connection: duckdb.DuckDBPyConnection, query: str, values: Mapping[str, object]) -> tuple[Hit, ...]:
    return tuple(Hit(**row) for row in _frame(connection, query, values).iter_rows(named=True))


def _frame(connection: duckdb.DuckDBPyConnection, query: str, values: Mapping[str, object]) -> pl.DataFrame:
    return frame_of(connection, *for_duckdb(query, values))


def _refuse_unknown_cluster(connection: duckdb.DuckDBPyConnection, path: str) -> None:
    rows = connection.execute("select distinct cluster_path from neurons where cluster_path is not null").fetchall()
    known = [str(name) for (name,) in rows]
    if not any(name == path or name.startswith(f"{path}.") for name in known):
        raise UnknownName("cluster", path, known)
