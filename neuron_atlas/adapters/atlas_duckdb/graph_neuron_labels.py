"""What an atlas says of the neurons of one graph: what they do, and what they fire on."""

from __future__ import annotations

import polars as pl

from neuron_atlas.adapters.atlas_duckdb.reader import Atlas
from neuron_atlas.core.records import AttributionGraph, InstanceLabels, NeuronId
from neuron_atlas.errors import BadInput

LABELS = """
SELECT layer, neuron, polarity, side, label
FROM neuron_labels
WHERE label IS NOT NULL AND (layer, neuron) IN ({neurons})
ORDER BY layer, neuron, polarity, side
"""
"""The neurons are pairs of integers."""


def instance_labels(atlas: Atlas, graph: AttributionGraph) -> InstanceLabels:
    """The labels of a graph's neurons, of both polarities.

    Raises `BadInput` when the atlas was built on another model: its neurons are other ones.
    """
    built_on, traced = atlas.metadata.get("model_revision"), graph.summary.model_revision
    if built_on and traced and built_on != traced:
        models = f"{built_on[:12]}, not {traced[:12]}"
        raise BadInput(f"the atlas at {atlas.path} was built on another model ({models})")
    pairs = graph.nodes.filter(pl.col("kind") == "neuron").select("layer", "neuron").unique().sort("layer", "neuron")
    if pairs.is_empty():
        return InstanceLabels()
    named = ", ".join(f"({layer}, {neuron})" for layer, neuron in pairs.iter_rows())
    rows = atlas.sql(LABELS.format(neurons=named))
    does, fires_on = (
        {
            (NeuronId(layer, neuron), polarity): label
            for layer, neuron, polarity, label in rows.filter(pl.col("side") == side)
            .select("layer", "neuron", "polarity", "label")
            .iter_rows()
        }
        for side in ("output", "input")
    )
    return InstanceLabels(does, fires_on)
