"""Every asset once: which store keeps it, and what it is partitioned by.

The asset files define the assets; this table says where their rows are, so that the IO managers, the search for what is
out of date and the tests need no running Dagster to know it. A test compares it with the definitions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from neuron_atlas.adapters.atlas_duckdb.schema import PUBLISHED
from neuron_atlas.core.tables import ASSETS

Partitioning = Literal["prompt_set", "corpus", "layer"]
StoreName = Literal["lake", "duckdb", "postgres", "published"]

IO_MANAGERS: dict[StoreName, str] = {
    "lake": "parquet_io_manager",
    "duckdb": "duckdb_io_manager",
    "postgres": "postgres_io_manager",
}
"""The IO manager of each store; what is published stores itself. `raw_graphs` has one of its own on the lake."""


@dataclass(frozen=True, slots=True)
class RegisteredAsset:
    """Where one asset is kept: the store, and what it is partitioned by (None: it is in one piece)."""

    store: StoreName
    partitioned_by: Partitioning | None = None


ASSET_REGISTRY: dict[str, RegisteredAsset] = {
    "raw_graphs": RegisteredAsset("lake", "prompt_set"),
    "graph_stats": RegisteredAsset("lake", "prompt_set"),
    "faithfulness": RegisteredAsset("lake", "prompt_set"),
    "edge_stats": RegisteredAsset("duckdb"),
    "activation_stats": RegisteredAsset("lake", "corpus"),
    "output_projections": RegisteredAsset("lake", "layer"),
    "input_projections": RegisteredAsset("lake", "layer"),
    "der_scores": RegisteredAsset("duckdb"),
    "output_labels": RegisteredAsset("postgres", "layer"),
    "input_labels": RegisteredAsset("postgres", "layer"),
    "label_scores": RegisteredAsset("postgres", "layer"),
    "clusters": RegisteredAsset("duckdb"),
    "profile_clusters": RegisteredAsset("duckdb"),
    "cluster_labels": RegisteredAsset("duckdb"),
    "analyses": RegisteredAsset("duckdb"),
    "atlas": RegisteredAsset("published"),
    "neuron_db": RegisteredAsset("published"),
}

ASSETS_IN_ATLAS = tuple(
    asset for asset, tables in ASSETS.items() if any(table in PUBLISHED.values() for table in tables)
)
"""The assets of which the atlas file holds tables."""
