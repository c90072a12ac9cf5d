"""Searching descriptions by meaning, with filters that never cost results.

An approximate index hands out the nearest rows; filtering them afterwards leaves too few. So the rows that pass the filters
are counted first, up to a bound. When few pass, they are scanned exactly. When many do, the index is read in order of
distance through a cursor (pgvector's iterative scan), and on, until enough rows have passed. When the index is missing,
broken, or has failed its recall check, the scan is exact and the answer says so.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector
from psycopg import errors as pg
from psycopg import sql
from psycopg.rows import class_row

from neuron_atlas.adapters.neuron_db.records import RECALL_NEEDED, Filters, Found, Hit, LabelSet
from neuron_atlas.adapters.postgres import Connection, escape_text, unescape_text
from neuron_atlas.core.ports import Embedder
from neuron_atlas.errors import BadInput, Incomplete, UnknownName

EXACT_ROWS = 10_000
"""Up to this many rows an exact scan takes a few tens of milliseconds."""
MAX_LIMIT = 1000
FETCH = 200
"""Texts taken from the index at a time."""
EVERYTHING = Filters()
DAMAGED = (pg.IndexCorrupted, pg.DataCorrupted, pg.InternalError_)
"""What reading a broken index raises."""
Values: TypeAlias = dict[str, object]

_SELECTED = sql.SQL(
    "layer, neuron, polarity, side, labeler, label, description, type, direction, confidence, tokens, metric, score, "
    "interpretability"
)
_TIES = sql.SQL("layer, neuron, polarity, side, labeler")


def list_label_sets(connection: Connection) -> list[LabelSet]:
    """Every loaded label set, by model and version."""
    with connection.cursor(row_factory=class_row(LabelSet)) as cursor:
        return cursor.execute(
            "select label_set, model_id, revision, version, embedder, dimension, content_hash, n_descriptions, n_unlabeled, "
            "recall from neuron_db.label_sets join neuron_db.models using (model) order by model_id, revision, version"
        ).fetchall()


def find_label_set(connection: Connection, *, model: str | None = None, version: str | None = None) -> LabelSet:
    """The label set of a model (id or revision) and version; either may be left out where there is only one to choose.

    Raises `UnknownName` when there is none such, `BadInput` when several fit, `Incomplete` when nothing is loaded.
    """
    loaded = list_label_sets(connection)
    if not loaded:
        raise Incomplete("NeuronDB holds no labels yet; run: neuron-atlas build-db")
    fitting = [s for s in loaded if model is None or model in (s.model_id, s.revision)]
    if not fitting:
        raise UnknownName("model", str(model), {s.model_id for s in loaded})
    named = [s for s in fitting if version is None or s.version == version]
    if not named:
        raise UnknownName("label version", str(version), {s.version for s in fitting})
    if len(named) > 1:
        known = ", ".join(f"model {s.model_id} ({s.revision[:8]}) version {s.version}" for s in named)
        raise BadInput(f"several label sets fit; name the model and the version. There are: {known}")
    return named[0]


def search(
    connection: Connection,
    label_set: LabelSet,
    query: str | NDArray[np.float32] | None,
    *,
    embedder: Embedder | None = None,
    filters: Filters = EVERYTHING,
    limit: int = 20,
    exact_rows: int = EXACT_ROWS,
) -> Found:
    """The descriptions nearest in meaning to `query` (a text, or a vector of the label set's embedder) that pass the
    filters, nearest first; never fewer than `limit` where that many pass. Without a query, those that pass, best score first.

    Raises `BadInput` for a query that cannot be answered: empty, embedded by another embedder, of another dimension, or a
    limit outside 1..1000.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise BadInput(f"limit is {limit}; expected 1 to {MAX_LIMIT}")
    where, values = _conditions(label_set, filters)
    values["limit"] = limit
    if query is None:
        order = sql.SQL("score desc nulls last, {}").format(_TIES)
        return Found(tuple(_run(connection, _plain(where, order), values)), "listing")
    vector = _vector(query, label_set, embedder)
    values["vector"] = HalfVector(vector).to_text()
    passing = _count(connection, where, values, bound=max(exact_rows, limit) + 1)
    if passing <= max(exact_rows, limit):
        return _exact(connection, label_set, where, values)
    problem = index_problem(connection, label_set)
    if problem is not None:
        return _exact(connection, label_set, where, values, warning=problem)
    try:
        with connection.transaction():
            hits = _indexed(connection, label_set, where, values, limit)
    except DAMAGED as error:
        broken = f"the index of label set {label_set.version!r} is damaged ({error}); searched exactly. Load the labels again"
        return _exact(connection, label_set, where, values, warning=broken)
    if len(hits) < limit:
        short = (
            f"the index of label set {label_set.version!r} gave too few rows; searched exactly. Load the labels again"
        )
        return _exact(connection, label_set, where, values, warning=short)
    return Found(hits, "index")


def index_problem(connection: Connection, label_set: LabelSet) -> str | None:
    """Why the index may not be used, in words for the reader; None when it may."""
    if not has_index(connection, label_set):
        return f"label set {label_set.version!r} has no search index; searched exactly, which is slower. Load the labels again"
    if label_set.recall is not None and label_set.recall < RECALL_NEEDED:
        return (
            f"the search index of label set {label_set.version!r} found only {label_set.recall:.0%} of the true neighbours when "
            "it was checked; searched exactly, which is slower. Load the labels again"
        )
    return None


def has_index(connection: Connection, label_set: LabelSet) -> bool:
    """Whether the label set's embeddings have a valid HNSW index."""
    row = connection.execute(
        "select bool_or(indisvalid and indisready and indpred is null) from pg_index join pg_class on pg_class.oid = indexrelid "
        "join pg_am on pg_am.oid = relam where amname = 'hnsw' and indrelid = to_regclass(%s)",
        [f"neuron_db.embeddings_{label_set.label_set}"],
    ).fetchone()
    return row == (True,)


# ---------------------------------------------------------------------------------------------------------------- statements
def nearest_texts(
    connection: Connection, label_set: LabelSet, vector: str, *, by: Literal["index", "exact"]
) -> Generator[tuple[int, float]]:
    """Text keys and their cosine similarity with a vector (as pgvector writes it), nearest first, one after the other; by the
    index alone or by an exact scan alone. To be used in a transaction of its own, since it changes settings.
    """
    settings: Mapping[str, object] = {
        "enable_sort": "off" if by == "index" else "on",  # so that no other plan can give this order
        "hnsw.ef_search": 200,
        "hnsw.iterative_scan": "strict_order",
        "hnsw.max_scan_tuples": 2_000_000_000,
        "hnsw.scan_mem_multiplier": 8,
    }
    for name, value in settings.items():
        connection.execute("select set_config(%s, %s, true)", [name, str(value)])
    distance = sql.SQL("embedding::halfvec({n}) <=> %(vector)s::halfvec({n})").format(n=label_set.dimension)
    order = distance if by == "index" else sql.SQL("({}) + 0").format(distance)  # a sum is no order an index could give
    query = sql.SQL("select text_key, 1 - ({}) from neuron_db.embeddings where label_set = %(label_set)s order by {}")
    with connection.cursor("nearest_texts") as cursor:
        cursor.itersize = FETCH
        cursor.execute(query.format(distance, order), {"vector": vector, "label_set": label_set.label_set})
        yield from cursor


def _indexed(
    connection: Connection, label_set: LabelSet, where: sql.Composable, values: Values, limit: int
) -> tuple[Hit, ...]:
    """Walk the texts from near to far and take the descriptions of each that pass, until there are enough."""
    query = sql.SQL(
        "select {}, similarity from unnest(%(keys)s::int4[], %(similarities)s::float8[]) near(text_key, similarity) "
        "join neuron_db.descriptions using (text_key) where {} order by similarity desc, {} limit %(limit)s"
    ).format(_SELECTED, where, _TIES)
    hits: list[Hit] = []
    with closing(nearest_texts(connection, label_set, str(values["vector"]), by="index")) as texts:
        while len(hits) < limit and (batch := list(islice(texts, FETCH))):
            keys, similarities = zip(*batch, strict=True)
            near: Values = {"keys": list(keys), "similarities": list(similarities), "limit": limit - len(hits)}
            hits += _run(connection, query, values | near)
    return tuple(hits)


def _exact(
    connection: Connection, label_set: LabelSet, where: sql.Composable, values: Values, *, warning: str | None = None
) -> Found:
    """Compare with every text of a description that passes the filters."""
    query = sql.SQL(
        "with near as materialized (select text_key, 1 - (embedding::halfvec({n}) <=> %(vector)s::halfvec({n})) as similarity "
        "from neuron_db.embeddings where label_set = %(label_set)s and text_key in "
        "(select text_key from neuron_db.descriptions where {where})) "
        "select {selected}, similarity from near join neuron_db.descriptions using (text_key) where {where} "
        "order by similarity desc, {ties} limit %(limit)s"
    ).format(selected=_SELECTED, where=where, n=label_set.dimension, ties=_TIES)
    return Found(tuple(_run(connection, query, values)), "exact", () if warning is None else (warning,))


def _plain(where: sql.Composable, order: sql.Composable) -> sql.Composed:
    return sql.SQL(
        "select {}, null::float4 as similarity from neuron_db.descriptions where {} order by {} limit %(limit)s"
    ).format(_SELECTED, where, order)


def _count(connection: Connection, where: sql.Composable, values: Values, *, bound: int) -> int:
    """How many rows pass the filters, counted up to `bound`."""
    query = sql.SQL("select count(*) from (select 1 from neuron_db.descriptions where {} limit {}) few").format(
        where, bound
    )
    row = connection.execute(query, values).fetchone()
    return int(row[0]) if row else 0


def _run(connection: Connection, query: sql.Composed, values: Values) -> list[Hit]:
    with connection.cursor(row_factory=class_row(Hit)) as cursor:
        return [_readable(hit) for hit in cursor.execute(query, values).fetchall()]


def _readable(hit: Hit) -> Hit:
    """The hit with its texts as they were loaded."""
    description = None if hit.description is None else unescape_text(hit.description)
    tokens = [unescape_text(token) for token in hit.tokens]
    return replace(hit, label=unescape_text(hit.label), description=description, tokens=tokens)


# ------------------------------------------------------------------------------------------------------------------- filters
def _conditions(label_set: LabelSet, filters: Filters) -> tuple[sql.Composed, Values]:
    """The where clause and its bound values."""
    clauses = ["label_set = %(label_set)s", "text_key is not null"]
    values: Values = {"label_set": label_set.label_set}

    def add(clause: str, **bound: object) -> None:
        clauses.append(clause)
        values.update(bound)

    low, high = filters.layers or (None, None)
    if low is not None:
        add("layer >= %(low)s", low=low)
    if high is not None:
        add("layer <= %(high)s", high=high)
    if filters.neurons is not None:
        add(
            "(layer, neuron) in (select * from unnest(%(layers)s::int2[], %(neurons)s::int4[]))",
            layers=[n.layer for n in filters.neurons],
            neurons=[n.neuron for n in filters.neurons],
        )
    if filters.polarity is not None:
        add("polarity = %(polarity)s", polarity=filters.polarity)
    if filters.side is not None:
        add("side = %(side)s", side=filters.side)
    if filters.min_score is not None:
        add("score >= %(min_score)s", min_score=filters.min_score)
    if filters.type is not None:
        add("type = %(type)s", type=filters.type)
    if filters.labeler is not None:
        add("labeler = %(labeler)s", labeler=filters.labeler)
    if filters.only_preferred:
        add("is_preferred")
    if filters.keyword is not None:
        add(
            "strpos(lower(label || ' ' || coalesce(description, '') || ' ' || array_to_string(tokens, ' ')), "
            "lower(%(keyword)s)) > 0",
            keyword=escape_text(filters.keyword),
        )
    return sql.SQL(" and ").join(map(sql.SQL, clauses)), values  # pyright: ignore[reportArgumentType]: our own words


def _vector(query: str | NDArray[np.float32], label_set: LabelSet, embedder: Embedder | None) -> NDArray[np.float32]:
    """The question as a vector of the label set's space."""
    if isinstance(query, str):
        if not query.strip():
            raise BadInput("the search text is empty; expected a few words, or no text at all to list by score")
        if embedder is None:
            raise BadInput(f"searching by text needs the embedder {label_set.embedder!r}; give it, or a vector")
        if embedder.embedder_id != label_set.embedder:
            raise BadInput(
                f"label set {label_set.version!r} was embedded by {label_set.embedder!r}, the question would be by "
                f"{embedder.embedder_id!r}; vectors of different embedders cannot be compared. Use that one, or load the "
                "labels again with this one"
            )
        return embedder.embed([query])[0]
    if query.shape != (label_set.dimension,) or not np.isfinite(query).all() or not query.any():
        raise BadInput(
            f"the search vector has shape {query.shape}; expected {label_set.dimension} finite numbers, not all zero, of "
            f"{label_set.embedder!r}"
        )
    return query
