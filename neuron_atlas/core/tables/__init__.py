"""Every table, declared once: columns, types, units, key, meaning.

declare.py        how a table is declared, and what a frame must satisfy to be stored in it
attribution.py    graphs of prompts, and how faithful they are
aggregation.py    statistics of neurons and edges
labeling.py       labels and their scores
circuits.py       clusters over all prompts, circuits of single prompts
storage.py        what all stores of these tables agree on: checked frames with their hash, manifests, new columns

Storage, asset checks, the atlas and the documentation read these declarations; a frame that differs from its table is
refused before it is stored. An asset stores the tables listed for it in `ASSETS`. Not here: the tables of the atlas file and of
the search database that are made while publishing (adapters/atlas_duckdb/schema.py, adapters/neuron_db/schema.py), and the files
and databases that hold tables (adapters/tables).

Shared terms: `polarity` is +1 or -1, the sign of the activation; `direction` is +1 (promotes, excites) or -1 (suppresses,
inhibits); `rank` counts from 0; a `node` is dense within its graph; token columns hold the tokenizer's own id beside
readable text.
"""

from __future__ import annotations

from collections.abc import Sequence

from neuron_atlas.core.tables.aggregation import (
    ACTIVATION_STATS,
    COOCCURRENCE,
    CORRELATED_NEURONS,
    DER_SCORES,
    EDGE_STATS,
    EDGE_SUMS,
    EXEMPLARS,
    INPUT_PROJECTIONS,
    NEURON_PROFILES,
    NEURON_PROMPTS,
    NEURON_SUMS,
    OUTPUT_ASSOCIATIONS,
    OUTPUT_PROJECTIONS,
    PAIR_SUMS,
    PROJECTION_AGREEMENT,
    QUANTILE_LEVELS,
    SCALE_BITS,
    SET_SUMS,
    SPECIFICITY_SUMS,
    TOKEN_ASSOCIATIONS,
    TOKEN_BASE,
    TOKEN_SUMS,
    WEIGHT_EDGES,
)
from neuron_atlas.core.tables.attribution import (
    EDGES,
    FAITHFULNESS,
    GRAPHS,
    NODES,
    TARGETS,
)
from neuron_atlas.core.tables.circuits import (
    ANALYSES,
    ANALYSIS_FLOWS,
    ANALYSIS_MEMBERS,
    ANALYSIS_MODULES,
    CLUSTER_FLOWS,
    CLUSTER_LABELS,
    CLUSTER_MEMBERS,
    CLUSTER_RUNS,
    CLUSTERS,
    PROFILE_AGREEMENT,
    PROFILE_CLUSTERS,
    PROFILE_MEMBERS,
)
from neuron_atlas.core.tables.declare import Column, Table
from neuron_atlas.core.tables.labeling import (
    INPUT_LABELS,
    LABEL_SCORES,
    OUTPUT_LABELS,
)
from neuron_atlas.errors import UnknownName

__all__ = [
    "ACTIVATION_STATS",
    "ANALYSES",
    "ANALYSIS_FLOWS",
    "ANALYSIS_MEMBERS",
    "ANALYSIS_MODULES",
    "ASSETS",
    "CLUSTERS",
    "CLUSTER_FLOWS",
    "CLUSTER_LABELS",
    "CLUSTER_MEMBERS",
    "CLUSTER_RUNS",
    "COOCCURRENCE",
    "CORRELATED_NEURONS",
    "DER_SCORES",
    "EDGES",
    "EDGE_STATS",
    "EDGE_SUMS",
    "EXEMPLARS",
    "FAITHFULNESS",
    "GRAPHS",
    "INPUT_LABELS",
    "INPUT_PROJECTIONS",
    "LABEL_SCORES",
    "NEURON_PROFILES",
    "NEURON_PROMPTS",
    "NEURON_SUMS",
    "NODES",
    "OUTPUT_ASSOCIATIONS",
    "OUTPUT_LABELS",
    "OUTPUT_PROJECTIONS",
    "PAIR_SUMS",
    "PROFILE_AGREEMENT",
    "PROFILE_CLUSTERS",
    "PROFILE_MEMBERS",
    "PROJECTION_AGREEMENT",
    "QUANTILE_LEVELS",
    "SCALE_BITS",
    "SET_SUMS",
    "SPECIFICITY_SUMS",
    "TARGETS",
    "TOKEN_ASSOCIATIONS",
    "TOKEN_BASE",
    "TOKEN_SUMS",
    "WEIGHT_EDGES",
    "Column",
    "Table",
    "tables_of",
]

ASSETS: dict[str, tuple[Table, ...]] = {
    "raw_graphs": (GRAPHS, TARGETS, NODES, EDGES),
    "faithfulness": (FAITHFULNESS,),
    "graph_stats": (
        SET_SUMS,
        EDGE_SUMS,
        NEURON_SUMS,
        TOKEN_SUMS,
        TOKEN_BASE,
        PAIR_SUMS,
        SPECIFICITY_SUMS,
        NEURON_PROMPTS,
    ),
    "edge_stats": (
        EDGE_STATS,
        NEURON_PROFILES,
        TOKEN_ASSOCIATIONS,
        OUTPUT_ASSOCIATIONS,
        COOCCURRENCE,
        NEURON_PROMPTS,
    ),
    "activation_stats": (ACTIVATION_STATS, EXEMPLARS, CORRELATED_NEURONS, PROJECTION_AGREEMENT),
    "output_projections": (OUTPUT_PROJECTIONS, WEIGHT_EDGES),
    "input_projections": (INPUT_PROJECTIONS,),
    "der_scores": (DER_SCORES,),
    "output_labels": (OUTPUT_LABELS,),
    "input_labels": (INPUT_LABELS,),
    "label_scores": (LABEL_SCORES,),
    "clusters": (CLUSTERS, CLUSTER_MEMBERS, CLUSTER_RUNS, CLUSTER_FLOWS),
    "profile_clusters": (PROFILE_CLUSTERS, PROFILE_MEMBERS, PROFILE_AGREEMENT),
    "cluster_labels": (CLUSTER_LABELS,),
    "analyses": (ANALYSES, ANALYSIS_MODULES, ANALYSIS_MEMBERS, ANALYSIS_FLOWS),
}
"""Which tables each asset stores together. `atlas` and `neuron_db` hold copies in their own schemas."""


def tables_of(asset: str) -> Sequence[Table]:
    """The tables one asset stores; raises `UnknownName`."""
    if asset not in ASSETS:
        raise UnknownName("asset", asset, ASSETS)
    return ASSETS[asset]
