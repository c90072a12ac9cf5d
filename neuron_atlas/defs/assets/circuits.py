"""Circuits: clusters of neurons, found in two ways, and names for them.

Not here: the computing (core/circuits), and the analyses of single prompts (asset `analyses` in publication.py).
"""

from __future__ import annotations

import dagster as dg

from neuron_atlas.core.records import Frames, Tables
from neuron_atlas.defs.asset_decorators import stored_asset
from neuron_atlas.defs.checks.before_storing import checks_of
from neuron_atlas.defs.resources.clustering import ClusteringResource
from neuron_atlas.defs.resources.labeler import LabelerResource
from neuron_atlas.defs.resources.subject_model import ModelResource

GROUP = "circuits"
OWNERS = ["team:interpretability"]


def circuits_assets() -> list[dg.AssetsDefinition]:
    """The assets of this group."""

    @dg.asset(
        group_name=GROUP,
        io_manager_key="duckdb_io_manager",
        check_specs=checks_of("clusters"),
        automation_condition=dg.AutomationCondition.eager(),
        pool="duckdb",
        kinds={"infomap", "duckdb"},
        owners=OWNERS,
        code_version="2",
    )
    @stored_asset
    def clusters(
        context: dg.AssetExecutionContext, edge_stats: Tables, raw_graphs: Tables, clustering: ClusteringResource
    ) -> Frames:
        """Modules: groups of neurons that pass much of their effect on the answers to each other, as a hierarchy.

        Found by Infomap (or Leiden) in the flow graph of all prompt sets. For each module, two numbers say how stable it is: when
        the clustering is repeated with other seeds, and on resampled prompts. With either below 0.7, do not rely on it.
        """
        from neuron_atlas.core.circuits.clustering.clusters import find_clusters

        return find_clusters(
            edge_stats,
            graphs=raw_graphs,
            seed=clustering.seed,
            method=clustering.method,
            min_count=clustering.min_count,
            signs=clustering.signs,
        )

    @dg.asset(
        group_name=GROUP,
        io_manager_key="duckdb_io_manager",
        check_specs=checks_of("profile_clusters"),
        pool="duckdb",
        kinds={"infomap", "duckdb"},
        owners=OWNERS,
        code_version="1",
    )
    @stored_asset
    def profile_clusters(
        context: dg.AssetExecutionContext,
        raw_graphs: Tables,
        clusters: Tables,
        clustering: ClusteringResource,
        model: ModelResource,
    ) -> Frames:
        """A second way to group neurons: by the tokens that drive them and the logits they act on, connected to each other or not.

        From the attribution profiles of all prompts. Also says how far these clusters agree with the modules of the flow graph
        (asset `clusters`), and how stable each of them is.
        """
        from neuron_atlas.core.circuits.clustering.profile_clusters import cluster_profiles

        return cluster_profiles(
            raw_graphs,
            clusters,
            special_ids=model.tokens().special_ids,
            seed=clustering.seed,
            min_count=clustering.min_count,
        )

    @dg.asset(
        group_name=GROUP,
        io_manager_key="duckdb_io_manager",
        check_specs=checks_of("cluster_labels"),
        pool="duckdb",
        kinds={"pytorch", "duckdb"},
        owners=OWNERS,
        code_version="2",
    )
    @stored_asset
    def cluster_labels(
        context: dg.AssetExecutionContext,
        clusters: Tables,
        edge_stats: Tables,
        der_scores: Tables,
        raw_graphs: Tables,
        output_projections: Tables,
        output_labels: Tables,
        input_labels: Tables,
        clustering: ClusteringResource,
        model: ModelResource,
        labeler: LabelerResource,
    ) -> Frames:
        """What each module is about, from the labels of its members, tested by ablating the module.

        Names are composed by rules; where a language model labels the neurons, it names the modules as well. The score is in
        logits: how much more the tokens of the label fall when the module is ablated than when random neurons of the same layers
        are.
        """
        from neuron_atlas.core.circuits.naming.cluster_labels import label_clusters

        return label_clusters(
            clusters,
            {**output_labels, **input_labels},
            output_projections,
            evidence={**edge_stats, **der_scores, "graphs": raw_graphs["graphs"]},
            model=model.load(),
            language_model=labeler.language_model.load() if labeler.is_paid else None,
            labeler=labeler.kind,
            seed=clustering.seed,
        )

    return [clusters, profile_clusters, cluster_labels]
