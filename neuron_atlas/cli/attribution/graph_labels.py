"""The labels that a printed graph shows, from the atlas of the settings; and why there are none where there are none.

A graph is shown without labels rather than not at all: no atlas yet, an atlas of another model, a file that cannot be opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuron_atlas.core.records import AttributionGraph, InstanceLabels
from neuron_atlas.errors import AtlasError

if TYPE_CHECKING:
    from pathlib import Path

    from neuron_atlas.core.records import NeuronId


def labels_by_neuron(path: Path, graph: AttributionGraph) -> tuple[dict[tuple[NeuronId, int], str], str]:
    """One label by (neuron, polarity), what it does before what it fires on; and why there are none (empty: there are)."""
    found, without = labels_by_side(path, graph)
    return {**found.fires_on, **found.does}, without


def labels_by_side(path: Path, graph: AttributionGraph) -> tuple[InstanceLabels, str]:
    """What the atlas file says a graph's neurons do and fire on; and why there is nothing (empty: there is)."""
    if not path.exists():
        return InstanceLabels(), f"no labels: there is no atlas at {path} yet (neuron-atlas materialize builds it)"
    from neuron_atlas.adapters.atlas_duckdb import open_atlas
    from neuron_atlas.adapters.atlas_duckdb.graph_neuron_labels import instance_labels

    try:
        with open_atlas(path) as atlas:
            return instance_labels(atlas, graph), ""
    except AtlasError as error:
        return InstanceLabels(), f"no labels: {error}"
