"""Searching the neurons of an atlas by words (`Atlas.search`): BM25 over the documents that `search_index.py` writes, one per
neuron with all its labels, promoted tokens, cluster and domain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import duckdb
import polars as pl

from neuron_atlas.adapters.atlas_duckdb.schema import frame_of
from neuron_atlas.adapters.sql import Where, bm25_sql, for_duckdb, in_layers
from neuron_atlas.core.layer_ranges import LayerRanges
from neuron_atlas.core.publication.search.bm25 import required_query_terms

LayerSelection: TypeAlias = Sequence[int] | str | LayerRanges | None
"""Single layers, ranges, or a text such as `2..5` or `2,4..6`; None for every layer."""
NEURON_COLUMNS = (
    "n.neuron_id, n.layer, n.neuron, cast(r.words_score as float8) as score, n.label, n.output_label, n.input_label, "
    "n.description, n.promotes, n.cluster_path, n.cluster_label, r.matched"
)


def search_neurons(
    connection: duckdb.DuckDBPyConnection, text: str, *, limit: int, layers: LayerSelection
) -> pl.DataFrame:
    """Neurons whose labels, tokens, cluster or domain have words of a text, best first.

    Raises `BadInput` on a text without a letter or digit or of more than 1,000 characters.
    """
    terms = required_query_terms(text)
    (n_documents, mean_length), *_ = connection.execute("select count(*), avg(length) from search_documents").fetchall()
    in_selection = Where() if layers is None else in_layers(_ranges(layers))
    query = bm25_sql(
        documents=f"(select document, length from search_documents where {in_selection.text})",
        terms="search_terms",
        postings="search_postings",
        then=f"select {NEURON_COLUMNS} from ranked as r join search_documents as d on d.document = r.document "
        "join neurons as n on n.layer = d.layer and n.neuron = d.neuron "
        "order by r.words_score desc, n.layer, n.neuron limit :limit",
    )
    asked = {"words": terms, "n_words": len(terms), "limit": limit}
    values = {**in_selection.values, **asked, "n_documents": n_documents, "mean_length": mean_length or 1.0}
    return frame_of(connection, *for_duckdb(query, values))


def _ranges(layers: Sequence[int] | str | LayerRanges) -> LayerRanges:
    if isinstance(layers, str | LayerRanges):
        return LayerRanges.of(layers)
    return LayerRanges(tuple((layer, layer) for layer in layers))
