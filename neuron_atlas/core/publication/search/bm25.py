"""Full-text search by BM25 over plain tables: no extension, the same answers from every store.

    documents (document, length)            one per searched thing
    terms     (term, n_documents)           every word, lower-case, in the singular
    postings  (term, document, weight)      how often it stands there, fields weighted

A document's score for a word of the query is idf * f (k + 1) / (f + k (1 - b + b length / mean length)) (Robertson & Zaragoza
2009), with k = 1.2, b = 0.75. A word of the query also finds words that begin with it (0.6 of their score) and, when there are
none, words that contain it (0.3). Scores of several words add up, times the share of the query's words that were found.
The statement is `adapters/sql/bm25.sql`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import polars as pl

from neuron_atlas.core.labeling.evidence.word_classes import FUNCTION_WORDS
from neuron_atlas.core.publication.search.search_query import MAX_QUERY
from neuron_atlas.errors import BadInput

MAX_WORDS = 32
"""Words of a query that are looked at."""
COMPARING_WORDS = frozenset({"as", "such", "than", "then", "there"})
"""English words in no closed class of `word_classes`, which like those say how a query is put, not what it asks for."""
FIELD_WEIGHTS: dict[str, float] = {"label": 4.0, "tokens": 2.0, "description": 1.0}
"""How much a word counts in each field of a label record."""


@dataclass(frozen=True, slots=True)
class Bm25Index:
    """The three tables of an index, in key order."""

    documents: pl.DataFrame
    terms: pl.DataFrame
    postings: pl.DataFrame

    @property
    def mean_length(self) -> float:
        """Of the documents that hold a word; 0 without any."""
        return float(self.documents["length"].cast(pl.Float64).sum()) / max(self.documents.height, 1)


def terms_of(texts: pl.Series) -> pl.Series:
    """The search terms of each text, as lists: runs of letters and digits, lower-case, plurals as `city` and `river`."""
    return (
        texts.str.to_lowercase()
        .str.extract_all(r"[\p{L}\p{N}]+")
        .list.eval(pl.element().str.replace(r"^(\p{L}{2,})ies$", "${1}y").str.replace(r"^([\p{L}]{2,}[^su\W])s$", "$1"))
    )


def query_terms(query: str) -> list[str]:
    """The terms of a query to look for: different ones, in order, at most `MAX_WORDS`; empty without a letter or digit.

    Function words are looked for only where the query has no others: `names of cities` asks for names and cities, not for the
    many labels with an "of"; `of` and `is, has` ask for what they say.
    """
    terms = terms_of(pl.Series([query], dtype=pl.String))[0].unique(maintain_order=True)
    return (terms.filter(~terms.is_in(_function_terms())).to_list() or terms.to_list())[:MAX_WORDS]


@cache
def _function_terms() -> list[str]:
    return terms_of(pl.Series([" ".join(sorted(FUNCTION_WORDS | COMPARING_WORDS))]))[0].to_list()


def required_query_terms(query: str) -> list[str]:
    """`query_terms`, at least one. Raises `BadInput` on a query without a letter or digit or with more than `MAX_QUERY`
    characters."""
    if len(query) > MAX_QUERY:
        raise BadInput(f"the search text has {len(query)} characters; expected at most {MAX_QUERY}")
    terms = query_terms(query)
    if not terms:
        raise BadInput(f"nothing to search for in {query!r}; expected at least one letter or digit")
    return terms


def bm25_index(fields: pl.DataFrame) -> Bm25Index:
    """The index of `fields` (document, weight, text): a document may have several fields, and each counts by its weight."""
    words = (
        fields.select("document", "weight", term=terms_of(fields["text"]))
        .explode("term")
        .drop_nulls("term")
        .group_by("document", "term")
        .agg(weight=pl.col("weight").cast(pl.Float64).sum())
    )
    documents = words.group_by("document").agg(length=pl.col("weight").sum().cast(pl.Float32)).sort("document")
    terms = words.group_by("term").agg(n_documents=pl.len().cast(pl.Int32)).sort("term")
    postings = words.select("term", "document", pl.col("weight").cast(pl.Float32)).sort("term", "document")
    return Bm25Index(documents, terms, postings)


def label_fields(records: pl.DataFrame) -> pl.DataFrame:
    """The fields (document, weight, text) of label records that hold a label: columns document, label, description, tokens."""
    labeled = records.filter(pl.col("label").is_not_null()).with_columns(pl.col("tokens").list.join(" "))
    columns = [
        labeled.select("document", weight=pl.lit(weight), text=pl.col(field)) for field, weight in FIELD_WEIGHTS.items()
    ]
    return pl.concat(columns).drop_nulls("text")
