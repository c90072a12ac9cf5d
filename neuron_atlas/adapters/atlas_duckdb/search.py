"""Full-text search without an extension: an inverted index in three plain tables, ranked by BM25.

    search_documents (document, layer, neuron, length)      one document per neuron
    search_terms     (term, term_id, n_documents)            every word, lower-case, a plural s taken off
    search_postings  (term_id, document, weight)             how often it stands there, fields weighted

A document's score for a query word is idf * f (k + 1) / (f + k (1 - b + b length / mean length)) (Robertson & Zaragoza 2009),
with k = 1.2, b = 0.75. A query word also finds words that begin with it (0.6 of their score) and, when there are none, words that
contain it (0.3). Scores of several words add up, times the share of the query's words that were found.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import polars as pl

from neuron_atlas.adapters.atlas_duckdb.schema import frame_of, statement
from neuron_atlas.errors import BadInput

MAX_QUERY = 1000
"""Longest query, in characters."""

MAX_WORDS = 32
"""Words of a query that are looked at."""


def terms_of(texts: pl.Series) -> pl.Series:
    """The search terms of each text, as lists: runs of letters and digits, lower-case, without a plural s."""
    return (
        texts.str.to_lowercase()
        .str.extract_all(r"[\p{L}\p{N}]+")
        .list.eval(pl.element().str.replace(r"^([\p{L}]{2,}[^su\W])s$", "$1"))
    )


def write_search_index(connection: duckdb.DuckDBPyConnection) -> None:
    """Create and fill the index from what `search_fields.sql` selects."""
    fields = frame_of(connection, statement("search_fields"))
    words = (
        fields.with_columns(term=terms_of(fields["text"]))
        .explode("term")
        .drop_nulls("term")
        .group_by("layer", "neuron", "term")
        .agg(weight=pl.col("weight").cast(pl.Float64).sum())
    )
    documents = (
        words.group_by("layer", "neuron")
        .agg(length=pl.col("weight").sum())
        .sort("layer", "neuron")
        .with_row_index("document")
        .select(pl.col("document").cast(pl.Int32), "layer", "neuron", pl.col("length").cast(pl.Float32))
    )
    terms = (
        words.group_by("term")
        .agg(n_documents=pl.len())
        .sort("term")
        .with_row_index("term_id")
        .select("term", pl.col("term_id").cast(pl.Int32), pl.col("n_documents").cast(pl.Int32))
    )
    postings = (
        words.join(documents, on=["layer", "neuron"])
        .join(terms, on="term")
        .select("term_id", "document", pl.col("weight").cast(pl.Float32))
        .sort("term_id", "document")
    )
    for name, frame in (("search_documents", documents), ("search_terms", terms), ("search_postings", postings)):
        connection.register("incoming", frame)
        connection.execute(f"CREATE TABLE {name} AS FROM incoming")
        connection.unregister("incoming")


def search_index(
    connection: duckdb.DuckDBPyConnection, text: str, *, limit: int, layers: Sequence[int] | None
) -> pl.DataFrame:
    """Neurons that match a text, best first: the columns of `search.sql`.

    Raises `BadInput` on a query without a letter or digit or of more than `MAX_QUERY` characters.
    """
    if len(text) > MAX_QUERY:
        raise BadInput(f"the search text has {len(text)} characters; expected at most {MAX_QUERY}")
    words = terms_of(pl.Series([text]))[0].unique(maintain_order=True).to_list()[:MAX_WORDS]
    if not words:
        raise BadInput(f"nothing to search for in {text!r}; expected at least one letter or digit")
    parameters = {"words": words, "limit": limit, "layers": None if layers is None else list(layers)}
    return frame_of(connection, statement("search"), parameters)
