"""Full-text search by BM25 over plain tables: no extension, the same answers from every store.

    documents (document, length)            one per searched thing
    terms     (term, n_documents)           every word, lower-case, in the singular
    postings  (term, document, weight)      how often it stands there, fields weighted

A document's score for a word of the question is idf * f (k + 1) / (f + k (1 - b + b length / mean length)) (Robertson & Zaragoza
2009), with k = 1.2, b = 0.75. A word of the question also finds words that begin with it (0.6 of their score) and, when there are
none, words that contain it (0.3). Scores of several words add up, times the share of the question's words that were found.
The statement is `adapters/sql/words.sql`.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from neuron_atlas.core.publication.search.records import MAX_QUERY
from neuron_atlas.errors import BadInput

MAX_WORDS = 32
"""Words of a question that are looked at."""
FUNCTION_WORDS = (
    "a an and are as at be been but by can do does for from had has have how i if in into is it its of on or over such than that "
    "the their them then there these they this to was we were what when where which while who whose why will with you your"
)
"""English words that say how a question is put, not what it asks for; looked for only where it has no others."""
LABEL_WEIGHTS: dict[str, float] = {"label": 4.0, "tokens": 2.0, "description": 1.0}
"""How much a word counts in each field of a description."""


@dataclass(frozen=True, slots=True)
class WordIndex:
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


def words_in(question: str) -> list[str]:
    """The words of a question to look for: different ones, in order, at most `MAX_WORDS`; empty without a letter or digit.

    `names of cities` asks for names and cities, not for the many labels with an "of"; `of` and `is, has` ask for what they say.
    """
    asked, function_words = terms_of(pl.Series([question, FUNCTION_WORDS], dtype=pl.String))
    words = asked.unique(maintain_order=True)
    return (words.filter(~words.is_in(function_words.to_list())).to_list() or words.to_list())[:MAX_WORDS]


def words_of(question: str) -> list[str]:
    """`words_in`, at least one. Raises `BadInput` on a question without a letter or digit or of more than `MAX_QUERY`
    characters."""
    if len(question) > MAX_QUERY:
        raise BadInput(f"the search text has {len(question)} characters; expected at most {MAX_QUERY}")
    words = words_in(question)
    if not words:
        raise BadInput(f"nothing to search for in {question!r}; expected at least one letter or digit")
    return words


def index_words(fields: pl.DataFrame) -> WordIndex:
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
    return WordIndex(documents, terms, postings)


def fields_of(descriptions: pl.DataFrame) -> pl.DataFrame:
    """The fields (document, weight, text) of labeled descriptions: columns document, label, description, tokens."""
    told = descriptions.filter(pl.col("label").is_not_null()).with_columns(pl.col("tokens").list.join(" "))
    columns = [
        told.select("document", weight=pl.lit(weight), text=pl.col(field)) for field, weight in LABEL_WEIGHTS.items()
    ]
    return pl.concat(columns).drop_nulls("text")
