"""What a stored partition was made from, and whether making it again could change it.

A recipe is a flat list of names and fingerprints: the asset's code version, one entry for everything that shapes it and is
not a table (`with model`, `with tracing` …: the identity of each `Ingredient` resource the asset uses), and one for every
partition it read (`from graph_stats@geography`: its content hash). A store keeps the recipe beside the tables. A partition
is up to date when the recipe that a run would have now is the one it was made with; since the hashes are of content, a
rerun that yields the same rows makes nothing downstream out of date.

Dagster shows staleness too, but forgets inputs beyond a hundred partitions and knows neither prompt files nor weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

import dagster as dg
import polars as pl

from neuron_atlas.core.records import Tables


class Ingredient(dg.ConfigurableResource[object], ABC):
    """A resource that shapes what an asset computes."""

    @abstractmethod
    def identity(self, partition: str | None) -> str:
        """A short text that changes exactly when the outcome may; for one partition of the asset that uses it."""


class Loaded(dict[str, pl.LazyFrame]):
    """Tables of one upstream asset, as `Tables`, that remember which content they came from.

    `sources` maps `asset@partition` (or `asset`) to the content hash.
    """

    def __init__(self, tables: Tables, sources: Mapping[str, str]) -> None:
        super().__init__(tables)
        self.sources = dict(sources)


def source_name(asset: str, partition: str | None) -> str:
    """`graph_stats@geography`, or `edge_stats` for an asset in one piece."""
    return asset if partition is None else f"{asset}@{partition}"


def recipe(
    *, code_version: str, ingredients: Mapping[str, str], sources: Iterable[Mapping[str, str]]
) -> dict[str, str]:
    """The recipe of one partition; see the module's text for its entries."""
    entries = {"code": code_version}
    entries |= {f"with {name}": identity for name, identity in ingredients.items()}
    for source in sources:
        entries |= {f"from {name}": content for name, content in source.items()}
    return dict(sorted(entries.items()))


def identities(resources: Mapping[str, object], required: Iterable[str], partition: str | None) -> dict[str, str]:
    """The identities of the ingredients among the resources an asset requires (IO managers and places are none)."""
    used = {key: resources.get(key) for key in required}
    return {key: resource.identity(partition) for key, resource in used.items() if isinstance(resource, Ingredient)}
