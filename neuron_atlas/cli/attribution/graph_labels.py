"""What the atlas calls the neurons of a graph: by what they do, and by what they fire on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from neuron_atlas.core.records import AttributionGraph, InstanceLabels, NeuronId
from neuron_atlas.errors import AtlasError

if TYPE_CHECKING:
    from pathlib import Path

LABELS = """
SELECT layer, neuron, polarity, side, label
FROM neuron_labels
WHERE label IS NOT NULL AND (layer, neuron) IN ({neurons})
ORDER BY layer, neuron, polarity, side
"""
"""The neurons are pairs of integers."""


def labels_from_atlas(path: Path, graph: AttributionGraph) -> tuple[dict[tuple[NeuronId, int], str], str]:
    """Labels by (neuron, polarity) from an atlas file, and why there are none where there are none."""
    found, without = instance_labels(path, graph)
    return {**found.fires_on, **found.does}, without


def instance_labels(path: Path, graph: AttributionGraph) -> tuple[InstanceLabels, str]:
    """What an atlas file says a graph's neurons do and fire on, and why there is nothing where there is nothing.

    An atlas of another model says nothing about this one's neurons; one that cannot be opened is no reason to lose a graph.
    """
    nothing = InstanceLabels()
    if not path.exists():
        return nothing, f"no labels: there is no atlas at {path} yet (neuron-atlas materialize builds it)"
    from neuron_atlas.adapters.atlas_duckdb import open_atlas

    pairs = graph.nodes.filter(pl.col("kind") == "neuron").select("layer", "neuron").unique().sort("layer", "neuron")
    if pairs.is_empty():
        return nothing, ""
    try:
        with open_atlas(path) as atlas:
            built_on, traced = atlas.metadata.get("model_revision"), graph.summary.model_revision
            if built_on and traced and built_on != traced:
                models = f"{built_on[:12]}, not {traced[:12]}"
                return nothing, f"no labels: the atlas at {path} was built on another model ({models})"
            named = ", ".join(f"({layer}, {neuron})" for layer, neuron in pairs.iter_rows())
            rows = atlas.sql(LABELS.format(neurons=named))
    except AtlasError as error:
        return nothing, f"no labels: {error}"
    does, fires_on = (
        {
            (NeuronId(layer, neuron), polarity): label
            for layer, neuron, polarity, label in rows.filter(pl.col("side") == side)
            .select("layer", "neuron", "polarity", "label")
            .iter_rows()
        }
        for side in ("output", "input")
    )
    return InstanceLabels(does, fires_on), ""
