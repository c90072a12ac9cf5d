"""Every asset once: which store keeps it, and what it is partitioned by.

The asset files say what an asset is; this table says where its rows live, so that the IO managers, the search for what is
out of date and the tests need no running Dagster to know it. A test holds the two together.
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
class Entry:
    """Where one asset is kept: the store, and the kind of partition (None: one piece)."""

    store: StoreName
    by: Partitioning | None = None


INVENTORY: dict[str, Entry] = {
    "raw_graphs": Entry("lake", "prompt_set"),
    "graph_stats": Entry("lake", "prompt_set"),
    "faithfulness": Entry("lake", "prompt_set"),
    "edge_stats": Entry("duckdb"),
    "activation_stats": Entry("lake", "corpus"),
    "output_projections": Entry("lake", "layer"),
    "input_projections": Entry("lake", "layer"),
    "der_scores": Entry("duckdb"),
    "output_labels": Entry("postgres", "layer"),
    "input_labels": Entry("postgres", "layer"),
    "label_scores": Entry("postgres", "layer"),
    "clusters": Entry("duckdb"),
    "profile_clusters": Entry("duckdb"),
    "cluster_labels": Entry("duckdb"),
    "analyses": Entry("duckdb"),
    "atlas": Entry("published"),
    "neuron_db": Entry("published"),
}


IN_ATLAS = tuple(asset for asset, tables in ASSETS.items() if any(table in PUBLISHED.values() for table in tables))
"""The assets of which the atlas holds tables."""
