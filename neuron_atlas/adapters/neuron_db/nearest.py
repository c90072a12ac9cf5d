"""The label records nearest in meaning, under conditions that never cost results.

An approximate index hands out the nearest rows; filtering them afterwards leaves too few. So the rows that meet the conditions
are counted first, up to a bound. When few do, they are scanned exactly. When many do, the index is read in order of
distance through a cursor (pgvector's iterative scan), and on, until enough rows have passed; where these lie far from the query
that would take long, and after `MAX_TEXTS` texts the scan is exact as well. When the index is missing, broken, or has failed its
recall check, the scan is exact and the result says so.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice

from psycopg import errors as pg
from psycopg import sql
from psycopg.rows import class_row

from neuron_atlas.adapters.neuron_db.label_sets import index_problem
from neuron_atlas.adapters.neuron_db.stored_records import LabelSet
from neuron_atlas.adapters.postgres import Connection, escape_text, unescape_text
from neuron_atlas.adapters.sql import Values, Where, for_postgres
from neuron_atlas.core.publication.search.search_result import SELECTED, TIES, Hit, SearchResult

EXACT_ROWS = 10_000
"""Up to this many rows an exact scan takes a few tens of milliseconds."""
FETCH = 200
"""Texts taken from the index at a time."""
MAX_TEXTS = 20_000
"""Texts after which reading the index costs more than an exact scan."""
EF_SEARCH = 600
"""How widely the index looks around. In benchmarks/search.py 200 found all neighbours among 100,000 texts but 96 % among 300,000,
where 600 finds all; that costs some tens of milliseconds."""
DAMAGED = (pg.IndexCorrupted, pg.DataCorrupted, pg.InternalError_)
"""What reading a broken index raises."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The label records of one label set that meet a condition: what a search looks through."""

    label_set: LabelSet
    where: Where

    @property
    def text(self) -> str:
        """The condition, for labeled ones only; holds in the set's own part of `descriptions`."""
        return f"text_key is not null and ({self.where.text})"

    def values(self, **more: object) -> Values:
        """The parameters of the condition and others."""
        given = {name: _escaped(value) for name, value in self.where.values.items()}
        return {**given, "label_set": self.label_set.label_set, "model": self.label_set.model, **more}


def nearest(
    connection: Connection, scope: Scope, vector: str, *, limit: int, exact_rows: int = EXACT_ROWS
) -> SearchResult:
    """The records of a scope nearest to a vector (as pgvector writes it), nearest first; never fewer than `limit` where
    the scope has that many. Changes settings of the transaction."""
    few = max(exact_rows, limit)
    if count(connection, scope, bound=few + 1) <= few:
        return SearchResult(exactly(connection, scope, vector, limit=limit), "exact")
    problem = index_problem(connection, scope.label_set)
    if problem is None:
        name = scope.label_set.version
        try:
            with connection.transaction():
                hits, n_texts = _by_index(connection, scope, vector, limit=limit)
            if len(hits) == limit:
                return SearchResult(hits, "index")
            if n_texts < MAX_TEXTS:
                problem = f"the index of label set {name!r} gave too few rows; searched exactly. Load the labels again"
        except DAMAGED as error:
            problem = f"the index of label set {name!r} is damaged ({error}); searched exactly. Load the labels again"
    hits = exactly(connection, scope, vector, limit=limit)
    return SearchResult(hits, "exact", () if problem is None else (problem,))


def nearest_texts(connection: Connection, label_set: LabelSet, vector: str) -> Generator[tuple[int, float]]:
    """Text keys and their cosine similarity with a vector (as pgvector writes it), nearest first, one after the other, by the
    index alone. To be used in a transaction of its own, since it changes settings.
    """
    settings: Mapping[str, object] = {
        "enable_sort": "off",  # so that no other plan can give this order
        "hnsw.ef_search": EF_SEARCH,
        "hnsw.iterative_scan": "strict_order",
        "hnsw.max_scan_tuples": 2_000_000_000,
        "hnsw.scan_mem_multiplier": 8,
    }
    changes = ", ".join(["set_config(%s, %s, true)"] * len(settings))
    given = [str(part) for setting in settings.items() for part in setting]
    connection.execute(f"select {changes}", given)  # pyright: ignore[reportArgumentType]: our own text
    distance = distance_to(label_set)
    query = f"select text_key, 1 - ({distance}) from {label_set.table('embeddings')} order by {distance}"
    with connection.cursor("nearest_texts") as cursor:
        cursor.itersize = FETCH
        cursor.execute(statement(query), {"vector": vector})
        yield from cursor


def distance_to(label_set: LabelSet) -> str:
    """The cosine distance between a text's embedding and the parameter `vector`, as the index knows it."""
    return f"embedding::halfvec({label_set.dimension}) <=> :vector::halfvec({label_set.dimension})"


def _by_index(connection: Connection, scope: Scope, vector: str, *, limit: int) -> tuple[tuple[Hit, ...], int]:
    """Read the texts from near to far and take the records of each that are in the scope, until there are enough; also how many
    texts were read."""
    query = (
        f"select {SELECTED}, similarity from unnest(:keys::int4[], :similarities::float8[]) near(text_key, similarity) "
        f"join {scope.label_set.table('descriptions')} using (text_key) where {scope.text} "
        f"order by similarity desc, {TIES} limit :limit"
    )
    hits: list[Hit] = []
    n_texts = 0
    with closing(nearest_texts(connection, scope.label_set, vector)) as texts:
        while len(hits) < limit and n_texts < MAX_TEXTS and (batch := list(islice(texts, FETCH))):
            keys, similarities = zip(*batch, strict=True)
            n_texts += len(keys)
            near = {"keys": list(keys), "similarities": list(similarities), "limit": limit - len(hits)}
            hits += run(connection, query, scope.values(**near))
    return tuple(hits), n_texts


def exactly(connection: Connection, scope: Scope, vector: str, *, limit: int) -> tuple[Hit, ...]:
    """Compare with every text of a record in the scope. Each text has at least one, so `limit` texts are enough."""
    descriptions, embeddings = scope.label_set.table("descriptions"), scope.label_set.table("embeddings")
    query = (
        f"with near as materialized (select text_key, 1 - ({distance_to(scope.label_set)}) as similarity from {embeddings} "
        f"where text_key in (select text_key from {descriptions} where {scope.text}) "
        f"order by similarity desc, text_key limit :limit) "
        f"select {SELECTED}, similarity from near join {descriptions} using (text_key) where {scope.text} "
        f"order by similarity desc, {TIES} limit :limit"
    )
    return run(connection, query, scope.values(vector=vector, limit=limit))


def count(connection: Connection, scope: Scope, *, bound: int) -> int:
    """How many records are in the scope, counted up to `bound`."""
    descriptions = scope.label_set.table("descriptions")
    query = f"select count(*) from (select 1 from {descriptions} where {scope.text} limit :bound) few"
    row = connection.execute(statement(query), scope.values(bound=bound)).fetchone()
    return int(row[0]) if row else 0


def run(connection: Connection, query: str, values: Values) -> tuple[Hit, ...]:
    """The hits that a statement selects, texts as they were loaded."""
    with connection.cursor(row_factory=class_row(Hit)) as cursor:
        return tuple(_readable(hit) for hit in cursor.execute(statement(query), values).fetchall())


def statement(text: str) -> sql.SQL:
    """Our own text, parameters written `:name`, as psycopg takes it."""
    return sql.SQL(for_postgres(text))  # pyright: ignore[reportArgumentType]


def _readable(hit: Hit) -> Hit:
    description = None if hit.description is None else unescape_text(hit.description)
    tokens = [unescape_text(token) for token in hit.tokens]
    return replace(hit, label=unescape_text(hit.label), description=description, tokens=tokens)


def _escaped(value: object) -> object:
    return escape_text(value) if isinstance(value, str) else value
