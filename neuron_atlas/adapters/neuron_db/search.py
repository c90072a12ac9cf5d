"""Searching descriptions in PostgreSQL: by meaning (nearest.py), by words (BM25 over plain tables), or by both.

A filter is part of every statement, never applied to what another one found, so it cannot cost results.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector

from neuron_atlas.adapters.neuron_db.nearest import EXACT_ROWS, Scope, distance_to, nearest, run
from neuron_atlas.adapters.neuron_db.records import LabelSet
from neuron_atlas.adapters.postgres import Connection, escape_text
from neuron_atlas.adapters.sql import Where, where, words_sql
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

NEURONS = "(select layer, neuron, cluster_path from neuron_db.neurons where model = :model) as known"


def search(
    connection: Connection,
    label_set: LabelSet,
    query: Question,
    *,
    mode: Mode = "hybrid",
    embedder: Embedder | None = None,
    filters: Filters | Where = EVERYTHING,
    limit: int = 20,
    exact_rows: int = EXACT_ROWS,
) -> Found:
    """The descriptions that pass the filters and answer `query` best (see `Mode`), best first; by meaning or both never fewer
    than `limit` where that many pass, by words those that hold one of them. A vector of the label set's embedder is compared
    by meaning. Without a query, those that pass, best score first.

    Raises `BadInput` for a query that cannot be answered: empty, embedded by another embedder, of another dimension, or a
    limit outside 1..1000; `UnknownName` for a cluster that does not exist.
    """
    check_question(query, limit=limit, mode=mode)
    scope = Scope(label_set, where(filters, neurons=NEURONS) if isinstance(filters, Filters) else filters)
    if isinstance(filters, Filters) and filters.cluster is not None:
        _refuse_unknown_cluster(connection, label_set, filters.cluster)
    if query is None:
        return Found(_listed(connection, scope, limit=limit), "listing")
    if isinstance(query, str) and mode == "words":
        _refuse_wordless(label_set)
        return Found(_by_words(connection, scope, words_of(query), None, limit=limit), "listing")
    vector = HalfVector(_vector(query, label_set, embedder)).to_text()
    if not isinstance(query, str) or mode == "meaning":
        return nearest(connection, scope, vector, limit=limit, exact_rows=exact_rows)
    near = nearest(connection, scope, vector, limit=depth(limit), exact_rows=exact_rows)
    words = words_in(query)
    if label_set.mean_length is None:
        warning = f"the words of label set {label_set.version!r} are not indexed; searched by meaning alone. {AGAIN}"
        return Found(near.hits[:limit], near.method, (*near.warnings, warning))
    said = _by_words(connection, scope, words, vector, limit=depth(limit), share_whole=SHARE_WHOLE) if words else ()
    return Found(merged(near.hits, said, limit=limit), near.method, near.warnings)


AGAIN = "Load the labels again: neuron-atlas build-db"


def _by_words(
    connection: Connection, scope: Scope, words: list[str], vector: str | None, *, limit: int, share_whole: float = 0.0
) -> tuple[Hit, ...]:
    """The descriptions with most of the words, at least `share_whole` of them whole, with their similarity to the vector when one
    is given."""
    similarity = "cast(null as float8)" if vector is None else f"1 - ({distance_to(scope.label_set)})"
    held = scope.label_set
    query = words_sql(
        documents=f"(select document, length from {held.table('descriptions')} where {scope.text})",
        terms=held.table("terms"),
        postings=held.table("postings"),
        then=f", best as (select {SELECTED}, text_key, words_score from ranked "
        f"join {held.table('descriptions')} using (document) where share_whole >= :share_whole "
        f"order by words_score desc, {TIES} limit :limit) "
        f"select {SELECTED}, {similarity} as similarity, words_score from best "
        f"join {held.table('embeddings')} using (text_key) order by words_score desc, {TIES}",
    )
    asked = {"words": [escape_text(word) for word in words], "n_words": len(words), "share_whole": share_whole}
    corpus = {"n_documents": held.n_documents, "mean_length": held.mean_length or 1.0}
    return run(connection, query, scope.values(**asked, **corpus, vector=vector, limit=limit))


def _listed(connection: Connection, scope: Scope, *, limit: int) -> tuple[Hit, ...]:
    query = (
        f"select {SELECTED} from {scope.label_set.table('descriptions')} where {scope.text} "
        f"order by score desc nulls last, {TIES} limit :limit"
    )
    return run(connection, query, scope.values(limit=limit))


def _vector(query: str | NDArray[np.float32], label_set: LabelSet, embedder: Embedder | None) -> NDArray[np.float32]:
    """The question as a vector of the label set's space."""
    vector = query if not isinstance(query, str) else _embedded(query, label_set, embedder)
    check_vector(vector, dimension=label_set.dimension, embedder=label_set.embedder)
    return vector


def _embedded(text: str, label_set: LabelSet, embedder: Embedder | None) -> NDArray[np.float32]:
    if embedder is None:
        raise BadInput(f"searching by text needs the embedder {label_set.embedder!r}; give it, or a vector")
    check_embedder(label_set.embedder, embedder.embedder_id)
    return embedder.embed([text])[0]


def _refuse_wordless(label_set: LabelSet) -> None:
    if label_set.mean_length is None:
        raise BadInput(f"the words of label set {label_set.version!r} are not indexed. {AGAIN}")


def _refuse_unknown_cluster(connection: Connection, label_set: LabelSet, path: str) -> None:
    query = "select distinct cluster_path from neuron_db.neurons where model = %s and cluster_path is not null"
    known = [str(name) for (name,) in connection.execute(query, [label_set.model])]
    if not any(name == path or name.startswith(f"{path}.") for name in known):
        raise UnknownName("cluster", path, known)
