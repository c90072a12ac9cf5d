"""Circuits: the modules that neurons form, and names for them.

What belongs here: both views of clusters, and their labels. The science is in core/circuits.
"""

from __future__ import annotations

import dagster as dg

from neuron_atlas.core.records import Frames, Tables
from neuron_atlas.defs.asset_decorators import stored_asset
from neuron_atlas.defs.checks.before_storing import checks_of
from neuron_atlas.defs.resources.labeler import LabelerResource
from neuron_atlas.defs.resources.method_options import ClusteringResource
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
        """Modules of neurons between which much of the effect on the answers flows, as a hierarchy.

        Infomap (or Leiden) on the flow graph of all prompt sets. Each module says how stable it is when the clustering is repeated
        with other seeds, and on prompts drawn anew; with either below 0.7 it should not be trusted.
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
        """The second view: neurons that are made of the same tokens and add to the same logits, wired to each other or not.

        From the attribution profiles of all prompts. Says how far it agrees with the modules of the flow graph, and how stable
        each cluster is.
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
        """What each module is about, from the labels of its members, tested by switching it off.

        Names are composed by rules; where neurons are labeled by a language model, it names the modules as well. The score says how
        much more the module's own tokens fall when it is ablated than when random neurons of the same layers are.
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
