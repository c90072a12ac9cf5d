"""Reading `NeuronFacts` from an atlas: what filters and views need to know of a model's neurons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from neuron_atlas.adapters.atlas_duckdb.schema import REBUILD, frame_of, statement
from neuron_atlas.adapters.atlas_duckdb.search_index import NO_EMBEDDER
from neuron_atlas.core.publication.filters.neuron_facts import (
    LABEL_COLUMNS,
    MODULE_COLUMNS,
    NeuronFacts,
    quantile_array,
)
from neuron_atlas.errors import BadInput, UnknownName

Embed = Callable[[str], NDArray[np.float32]]


def read_neuron_facts(
    connection: duckdb.DuckDBPyConnection, metadata: Mapping[str, str], embed: Embed, *, corpus: str | None = None
) -> NeuronFacts:
    """Everything that filters ask for: label records, modules, quantiles of a corpus (default: the one with most tokens) and,
    where the atlas holds vectors of its labels, their meaning; `embed` makes a query's vector.

    Raises `UnknownName` for a corpus that was not read, `BadInput` for an atlas that does not say which model it is of.
    """
    missing = [name for name in ("model_revision", "n_layers", "n_neurons") if name not in metadata]
    if missing:
        raise BadInput(f"this atlas does not say its model's {', '.join(missing)}; rebuild it with: {REBUILD}")
    corpora = frame_of(
        connection, "SELECT corpus FROM activation_stats GROUP BY corpus ORDER BY max(n_tokens) DESC, corpus"
    )
    names = [str(name) for name in corpora["corpus"]]
    if corpus is not None and corpus not in names:
        raise UnknownName("corpus", corpus, names)
    wanted = corpus or (names[0] if names else "")
    n_layers, n_neurons = int(metadata["n_layers"]), int(metadata["n_neurons"])
    stats = frame_of(
        connection,
        "SELECT layer, neuron, quantiles FROM activation_stats WHERE corpus = $corpus AND len(quantiles) > 0",
        {"corpus": wanted},
    )
    return NeuronFacts(
        model_revision=metadata["model_revision"],
        n_layers=n_layers,
        n_neurons=n_neurons,
        descriptions=_typed(frame_of(connection, statement("queries/label_records")), LABEL_COLUMNS),
        quantiles=quantile_array(stats, n_layers=n_layers, n_neurons=n_neurons),
        modules=_typed(frame_of(connection, statement("queries/neuron_modules")), MODULE_COLUMNS),
        meaning=None if metadata.get("embedder", NO_EMBEDDER) == NO_EMBEDDER else AtlasSimilarity(connection, embed),
    )


class AtlasSimilarity:
    """`LabelSimilarity` by the vectors that the atlas holds of every label."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, embed: Embed) -> None:
        self._connection, self._embed = connection, embed

    def similarities(self, question: str, labels: pl.Series) -> NDArray[np.float32]:
        """Cosine [n] of a question with each of n labels."""
        vector = self._embed(question)
        near = frame_of(
            self._connection,
            "SELECT DISTINCT d.label, array_inner_product(t.embedding, cast($vector AS FLOAT[{n}])) AS similarity "
            "FROM label_texts AS t JOIN descriptions AS d USING (text_key)".replace("{n}", str(len(vector))),
            {"vector": vector.tolist()},
        )
        return labels.replace_strict(near["label"], near["similarity"], return_dtype=pl.Float32).to_numpy()

    def vectors(self, labels: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors [n, d] of labels."""
        rows = frame_of(
            self._connection,
            "SELECT DISTINCT d.label, t.embedding FROM label_texts AS t JOIN descriptions AS d USING (text_key) "
            "WHERE list_contains($labels, d.label)",
            {"labels": list(dict.fromkeys(labels))},
        )
        places = {str(label): place for place, label in enumerate(rows["label"])}
        return rows["embedding"].to_numpy()[[places[label] for label in labels]]


def _typed(frame: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    return frame.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
