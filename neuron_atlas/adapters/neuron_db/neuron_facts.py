"""Reading `NeuronFacts` from a NeuronDB: what filters and views need to know of a model's neurons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pgvector import HalfVector
from psycopg import sql

from neuron_atlas.adapters.neuron_db.stored_records import LabelSet
from neuron_atlas.adapters.postgres import Connection, escape_text, unescaped
from neuron_atlas.core.ports import Embedder
from neuron_atlas.core.publication.filters.neuron_facts import (
    LABEL_COLUMNS,
    MODULE_COLUMNS,
    LabelSimilarity,
    NeuronFacts,
    quantile_array,
)
from neuron_atlas.core.tables import QUANTILE_LEVELS
from neuron_atlas.errors import BadInput, UnknownName

Read: TypeAlias = Callable[[Callable[[Connection], "list[tuple[object, ...]]"]], "list[tuple[object, ...]]"]
"""Runs one piece of reading on a connection of its own."""


def read_neuron_facts(
    connection: Connection, label_set: LabelSet, meaning: LabelSimilarity, *, corpus: str | None = None
) -> NeuronFacts:
    """Everything that filters ask for: label records and modules of a label set, its model's quantiles over a corpus (default: the
    one with most tokens). Raises `UnknownName` for a corpus that was not read."""
    (n_layers, n_neurons), *_ = connection.execute(
        "select n_layers, n_neurons from neuron_db.models where model = %s", [label_set.model]
    ).fetchall()
    descriptions = connection.execute(
        "select layer, neuron, polarity, side, labeler, labeler_version, label, description, tokens, type, score, "
        "interpretability from neuron_db.descriptions where label_set = %s and label is not null "
        "order by layer, neuron, polarity, side, labeler",
        [label_set.label_set],
    ).fetchall()
    modules = connection.execute(
        "select layer, neuron, cluster_path, cluster_label from neuron_db.neurons where model = %s and cluster_path is not null "
        "order by layer, neuron",
        [label_set.model],
    ).fetchall()
    quantiles = connection.execute(
        "select layer, neuron, quantiles from neuron_db.quantiles where model = %s and corpus = %s "
        "and cardinality(quantiles) > 0",
        [label_set.model, _corpus(connection, label_set, corpus)],
    ).fetchall()
    schema = {"layer": pl.Int16(), "neuron": pl.Int32(), "quantiles": pl.List(pl.Float32())}
    return NeuronFacts(
        model_revision=label_set.revision,
        n_layers=n_layers,
        n_neurons=n_neurons,
        descriptions=unescaped(pl.DataFrame(descriptions, schema=LABEL_COLUMNS, orient="row")),
        quantiles=quantile_array(
            pl.DataFrame(quantiles, schema=schema, orient="row"), n_layers=n_layers, n_neurons=n_neurons
        ),
        modules=unescaped(pl.DataFrame(modules, schema=MODULE_COLUMNS, orient="row")),
        meaning=meaning,
    )


def _corpus(connection: Connection, label_set: LabelSet, wanted: str | None) -> str:
    """The corpus named, or the largest; empty when none was read."""
    rows = connection.execute(
        "select corpus from neuron_db.quantiles where model = %s group by corpus order by max(n_tokens) desc, corpus",
        [label_set.model],
    ).fetchall()
    names = [str(name) for (name,) in rows]
    if wanted is not None and wanted not in names:
        raise UnknownName("corpus", wanted, names)
    levels = connection.execute("select level from neuron_db.quantile_levels order by rank").fetchall()
    if names and [float(level) for (level,) in levels] != list(QUANTILE_LEVELS):
        raise BadInput("this NeuronDB keeps quantiles at other levels than this release; run: neuron-atlas build-db")
    return wanted or (names[0] if names else "")


class NeuronDbSimilarity:
    """`LabelSimilarity` by the vectors that a NeuronDB holds of every label."""

    def __init__(self, read: Read, label_set: LabelSet, embedder: Callable[[LabelSet], Embedder]) -> None:
        self._read, self._label_set, self._embedder = read, label_set, embedder

    def similarities(self, question: str, labels: pl.Series) -> NDArray[np.float32]:
        """Cosine [n] of a question with each of n labels."""
        vector = HalfVector(self._embedder(self._label_set).embed([question])[0]).to_text()
        query = sql.SQL(
            "with near as materialized (select text_key, 1 - (embedding::halfvec({n}) <=> %(vector)s::halfvec({n})) as similarity "
            "from neuron_db.embeddings where label_set = %(label_set)s) "
            "select distinct label, similarity from near join neuron_db.descriptions using (text_key) "
            "where label_set = %(label_set)s"
        ).format(n=self._label_set.dimension)
        rows = self._rows(query, {"vector": vector})
        near = unescaped(pl.DataFrame(rows, schema={"label": pl.String(), "similarity": pl.Float64()}, orient="row"))
        return labels.replace_strict(near["label"], near["similarity"], return_dtype=pl.Float32).to_numpy()

    def vectors(self, labels: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors [n, d] of labels."""
        query = sql.SQL(
            "select distinct label, (embedding::vector)::real[] from neuron_db.embeddings join neuron_db.descriptions "
            "using (label_set, text_key) where label_set = %(label_set)s and label = any(%(labels)s)"
        )
        rows = self._rows(query, {"labels": [escape_text(label) for label in dict.fromkeys(labels)]})
        found = {str(label): np.asarray(vector, np.float32) for label, vector in rows}
        return np.stack([found[escape_text(label)] for label in labels])

    def _rows(self, query: sql.SQL | sql.Composed, values: dict[str, object]) -> list[tuple[object, ...]]:
        bound = {**values, "label_set": self._label_set.label_set}
        return self._read(lambda connection: connection.execute(query, bound).fetchall())
