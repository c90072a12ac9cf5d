"""The order in which assets run, and which of their partitions."""

from __future__ import annotations

import pytest

from neuron_atlas.core.tables import ASSETS
from neuron_atlas.defs.asset_registry import ASSET_REGISTRY
from neuron_atlas.defs.partitions import Partitions
from neuron_atlas.defs.running.run_plan import RUN_ORDER, plan_steps
from neuron_atlas.defs.running.staleness import AssetPartition
from neuron_atlas.errors import UnknownName


def test_the_run_order_holds_every_asset_once_and_its_steps_share_partitions():
    assert sorted(asset for together in RUN_ORDER for asset in together) == sorted(ASSET_REGISTRY)
    assert set(ASSETS) < set(ASSET_REGISTRY)
    assert all(len({ASSET_REGISTRY[asset].partitioned_by for asset in together}) == 1 for together in RUN_ORDER)


def test_the_plan_goes_through_partitions():
    parts = Partitions(prompt_set_names=("a", "b"), corpus_names=("c",), layer_names=("L00", "L01"))
    steps = [" ".join(map(str, step)) for step in plan_steps(list(ASSET_REGISTRY), parts, partition=None)]
    assert steps == [
        *(
            "raw_graphs@a graph_stats@a faithfulness@a",
            "raw_graphs@b graph_stats@b faithfulness@b",
            "activation_stats@c",
        ),
        *("output_projections@L00 input_projections@L00", "output_projections@L01 input_projections@L01"),
        "edge_stats der_scores",
        *("output_labels@L01", "output_labels@L00", "input_labels@L00", "input_labels@L01"),
        *("label_scores@L00", "label_scores@L01", "clusters profile_clusters cluster_labels analyses atlas neuron_db"),
    ]


def test_one_partition_concerns_the_assets_that_have_it():
    parts = Partitions(prompt_set_names=("a", "b"), corpus_names=(), layer_names=("L00",))
    steps = list(plan_steps(["raw_graphs", "graph_stats", "edge_stats"], parts, partition="b"))
    assert steps == [(AssetPartition("raw_graphs", "b"), AssetPartition("graph_stats", "b"))]
    with pytest.raises(UnknownName, match="Did you mean 'L00'"):
        list(plan_steps(list(ASSET_REGISTRY), parts, partition="L0"))
