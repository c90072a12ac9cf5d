"""Which assets run together, in which order, and for which partitions.

A plan is a sequence of steps. A step is a set of assets that share a partition, or are in one piece each; whatever an asset reads
belongs to the same step or to an earlier one.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Sequence

import dagster as dg

from neuron_atlas.defs.asset_registry import ASSET_REGISTRY
from neuron_atlas.defs.partitions import Partitions
from neuron_atlas.defs.running.staleness import AssetPartition
from neuron_atlas.errors import BadInput, UnknownName

RUN_ORDER: tuple[tuple[str, ...], ...] = (
    ("raw_graphs", "graph_stats", "faithfulness"),
    ("activation_stats",),
    ("output_projections", "input_projections"),
    ("edge_stats", "der_scores"),
    ("output_labels",),
    ("input_labels",),
    ("label_scores",),
    ("clusters", "profile_clusters", "cluster_labels", "analyses", "atlas", "neuron_db"),
)
"""Assets that run together, partition by partition; what an asset reads comes before it. Tested against the asset graph."""
LAST_PARTITION_FIRST = frozenset({"output_labels"})
"""Assets whose partitions run from the last to the first."""


def plan_steps(
    assets: Sequence[str], partitions: Partitions, *, partition: str | Collection[str] | None
) -> Iterator[tuple[AssetPartition, ...]]:
    """The asset partitions of each step, in order. With a partition, or several, only assets that have them take part.

    Raises `UnknownName` when no selected asset has one of them.
    """
    wanted = {partition} if isinstance(partition, str) else None if partition is None else set(partition)
    left = set(wanted or ())
    for together in RUN_ORDER:
        chosen = [asset for asset in together if asset in assets]
        if not chosen:
            continue
        keys = partitions.keys(ASSET_REGISTRY[chosen[0]].partitioned_by)
        for key in reversed(keys) if chosen[0] in LAST_PARTITION_FIRST else keys:
            if wanted is None or key in wanted:
                left.discard(key or "")
                yield tuple(AssetPartition(asset, key) for asset in chosen)
    if left:
        existing = {key for asset in assets for key in partitions.keys(ASSET_REGISTRY[asset].partitioned_by) if key}
        raise UnknownName("partition", min(left), existing, hint=f"The selected assets are {', '.join(assets)}.")


def select_assets(selection: str | Sequence[str], definitions: dg.Definitions) -> list[str]:
    """Asset names, in run order, from asset and group names (`aggregation`), `*`, or a Dagster selection (`+atlas`, `kind:duckdb`).

    Raises `UnknownName` or `BadInput`.
    """
    graph = definitions.resolve_asset_graph()
    groups = {graph.get(key).group_name: None for key in graph.toposorted_asset_keys}
    chosen: set[str] = set()
    for name in [selection] if isinstance(selection, str) else selection:
        if name in ASSET_REGISTRY:
            chosen.add(name)
        elif name in groups:
            chosen |= {key.path[-1] for key in graph.toposorted_asset_keys if graph.get(key).group_name == name}
        elif name.isidentifier():
            raise UnknownName("asset or stage", name, [*ASSET_REGISTRY, *map(str, groups)])
        else:
            chosen |= {key.path[-1] for key in _dagster_selection(name).resolve(graph)}
    return [asset for together in RUN_ORDER for asset in together if asset in chosen]


def _dagster_selection(text: str) -> dg.AssetSelection:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        try:
            return dg.AssetSelection.from_string(text)
        except dg.DagsterError as error:
            raise BadInput(
                f"{text!r} is not a selection of assets: {error}. Expected names of assets or stages, '*', or a Dagster "
                "selection such as '+atlas' or 'kind:duckdb'"
            ) from error
