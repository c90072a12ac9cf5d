"""The asset graph, a file per group.

    attribution.py   raw_graphs, faithfulness
    aggregation.py   graph_stats, edge_stats, activation_stats, projections, der_scores
    labeling.py      output_labels, input_labels, label_scores
    circuits.py      clusters, profile_clusters, cluster_labels, analyses
    publication.py   atlas, neuron_db

An asset opens its resources, calls one function of the core and returns its tables. Its docstring is its description in the Dagster
UI. Not here: computing (core), storing (defs/io_managers.py), checking (defs/checks).
"""

from __future__ import annotations

import dagster as dg

from neuron_atlas.defs.assets.aggregation import aggregation_assets
from neuron_atlas.defs.assets.attribution import attribution_assets
from neuron_atlas.defs.assets.circuits import circuits_assets
from neuron_atlas.defs.assets.labeling import labeling_assets
from neuron_atlas.defs.assets.publication import publication_assets
from neuron_atlas.defs.partitions import Partitions

__all__ = ["build_assets"]


def build_assets(partitions: Partitions) -> list[dg.AssetsDefinition]:
    """Every asset of one atlas, in the order of the groups."""
    return [
        *attribution_assets(partitions),
        *aggregation_assets(partitions),
        *labeling_assets(partitions),
        *circuits_assets(),
        *publication_assets(),
    ]
