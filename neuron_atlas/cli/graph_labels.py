"""What the atlas calls the neurons of a graph: an output label where there is one, else an input label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from neuron_atlas.core.records import AttributionGraph, NeuronId
from neuron_atlas.errors import AtlasError

if TYPE_CHECKING:
    from pathlib import Path

LABELS = """
SELECT layer, neuron, polarity, arg_max(label, side) AS label
FROM neuron_labels
WHERE label IS NOT NULL AND (layer, neuron) IN ({neurons})
GROUP BY layer, neuron, polarity
"""
"""`output` comes after `input`, so `arg_max` prefers it; the neurons are pairs of integers."""


def labels_from_atlas(path: Path, graph: AttributionGraph) -> tuple[dict[tuple[NeuronId, int], str], str]:
    """Labels by (neuron, polarity) from an atlas file, and why there are none where there are none.

    An atlas of another model says nothing about this one's neurons; one that cannot be opened is no reason to lose a graph.
    """
    if not path.exists():
        return {}, f"no labels: there is no atlas at {path} yet (neuron-atlas materialize builds it)"
    from neuron_atlas.adapters.atlas_duckdb import open_atlas

    pairs = graph.nodes.filter(pl.col("kind") == "neuron").select("layer", "neuron").unique().sort("layer", "neuron")
    if pairs.is_empty():
        return {}, ""
    try:
        with open_atlas(path) as atlas:
            built_on, traced = atlas.metadata.get("model_revision"), graph.summary.model_revision
            if built_on and traced and built_on != traced:
                models = f"{built_on[:12]}, not {traced[:12]}"
                return {}, f"no labels: the atlas at {path} was built on another model ({models})"
            named = ", ".join(f"({layer}, {neuron})" for layer, neuron in pairs.iter_rows())
            rows = atlas.sql(LABELS.format(neurons=named))
    except AtlasError as error:
        return {}, f"no labels: {error}"
    labels = {
        (NeuronId(layer, neuron), polarity): label
        for layer, neuron, polarity, label in rows.select("layer", "neuron", "polarity", "label").iter_rows()
    }
    return labels, ""
