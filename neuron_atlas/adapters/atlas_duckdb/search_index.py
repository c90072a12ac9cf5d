"""What makes an atlas searchable, written when it is built; no extension is needed, everything is a plain table.

search_documents, search_terms, search_postings      a document per neuron: labels, promoted tokens, cluster, domain
descriptions, label_terms, label_postings            a document per label record: label, tokens, description
label_texts (text_key, embedding)                    the vector of every distinct label
"""

from __future__ import annotations

import duckdb
import numpy as np
import polars as pl

from neuron_atlas.adapters.atlas_duckdb.schema import frame_of, statement
from neuron_atlas.core.ports import Embedder
from neuron_atlas.core.publication.search.bm25 import bm25_index
from neuron_atlas.core.publication.search.label_records import label_records, numbered_records, text_to_embed
from neuron_atlas.core.records import Tables
from neuron_atlas.core.tables import INPUT_LABELS, OUTPUT_LABELS

NO_EMBEDDER = "none"


def write_neuron_index(connection: duckdb.DuckDBPyConnection) -> None:
    """The index of what `search_fields.sql` selects."""
    fields = frame_of(connection, statement("build/search_fields"))
    neurons = fields.select("layer", "neuron").unique().sort("layer", "neuron").with_row_index("document")
    neurons = neurons.with_columns(pl.col("document").cast(pl.Int32))
    words = bm25_index(fields.join(neurons, on=["layer", "neuron"]))
    documents = neurons.join(words.documents, on="document").sort("document")
    _write(connection, "search_documents", documents.select("document", "layer", "neuron", "length"))
    _write(connection, "search_terms", words.terms)
    _write(connection, "search_postings", words.postings)


def write_label_index(
    connection: duckdb.DuckDBPyConnection, tables: Tables, embedder: Embedder | None
) -> dict[str, str]:
    """Every label record, with the words and, given an embedder, the vectors of labels; returns facts for `metadata`."""
    labels = {table.name: tables.get(table.name, table.empty().lazy()) for table in (OUTPUT_LABELS, INPUT_LABELS)}
    unnumbered = label_records({**tables, **labels})
    texts = unnumbered["label"].drop_nulls().unique().sort().to_list()
    records, words = numbered_records(unnumbered, {text: key for key, text in enumerate(texts)})
    _write(connection, "descriptions", records)
    _write(connection, "label_terms", words.terms)
    _write(connection, "label_postings", words.postings)
    if embedder is None:
        return {"embedder": NO_EMBEDDER, "embedder_dimension": "0"}
    vectors = (
        embedder.embed([text_to_embed(text) for text in texts])
        if texts
        else np.empty((0, embedder.dimension), np.float32)
    )
    embeddings = pl.Series("embedding", vectors, dtype=pl.Array(pl.Float32, embedder.dimension))
    keys = pl.Series("text_key", range(len(texts)), dtype=pl.Int32)
    _write(connection, "label_texts", pl.DataFrame([keys, embeddings]))
    return {"embedder": embedder.embedder_id, "embedder_dimension": str(embedder.dimension)}


def _write(connection: duckdb.DuckDBPyConnection, name: str, frame: pl.DataFrame) -> None:
    connection.register("incoming", frame)
    connection.execute(f"CREATE TABLE {name} AS FROM incoming")
    connection.unregister("incoming")
