"""What is stored of every asset, and what is missing or out of date: the question behind `only_missing` and the checks.

A unit is one asset with one partition. It is up to date when the recipe that a run would have now equals the one it was
stored with (recipes.py); whichever door made it, the Dagster UI, its command line or `materialize`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import dagster as dg
from dagster_duckdb import DuckDBResource

from neuron_atlas.defs.asset_registry import INVENTORY, StoreName
from neuron_atlas.defs.partitions import Partitions
from neuron_atlas.defs.resources.locations import LakeResource, PostgresResource, PublishedResource
from neuron_atlas.defs.storage.provenance import identities, recipe, source_name
from neuron_atlas.defs.storage.stores import DuckDBStore, LakeStore, PostgresStore, Store, Stored


@dataclass(frozen=True, slots=True, order=True)
class Unit:
    """One asset and one of its partitions (None: the asset is in one piece)."""

    asset: str
    partition: str | None = None

    def __str__(self) -> str:
        return source_name(self.asset, self.partition)


class Catalog:
    """The stores of one atlas, asked by asset and partition."""

    def __init__(self, stores: Mapping[StoreName, Store], partitions: Partitions) -> None:
        self.stores = dict(stores)
        self.partitions = partitions

    def units(self, asset: str) -> list[Unit]:
        """Every unit an asset has, stored or not, in partition order."""
        return [Unit(asset, key) for key in self.partitions.keys(INVENTORY[asset].by)]

    def find(self, unit: Unit) -> Stored | None:
        """What is stored of a unit, or None."""
        return self.stores[INVENTORY[unit.asset].store].find(unit.asset, unit.partition)

    def missing(self, asset: str) -> list[Unit]:
        """The units of an asset that are not stored."""
        return [unit for unit in self.units(asset) if self.find(unit) is None]

    def is_current(self, unit: Unit, definition: dg.AssetsDefinition, resources: Mapping[str, object]) -> bool:
        """Whether a run of this unit now would have the recipe it was stored with."""
        stored = self.find(unit)
        if stored is None:
            return False
        key = dg.AssetKey(unit.asset)
        expected = recipe(
            code_version=definition.code_versions_by_key[key] or "",
            ingredients=identities(resources, definition.required_resource_keys, unit.partition),
            sources=[
                {str(read): found.content_hash for read in self.reads(unit, definition) if (found := self.find(read))}
            ],
        )
        return dict(stored.recipe) == expected

    def reads(self, unit: Unit, definition: dg.AssetsDefinition) -> Iterator[Unit]:
        """The units that a unit reads, itself in other layers included."""
        for dependency in definition.get_asset_spec(dg.AssetKey(unit.asset)).deps:
            asset = dependency.asset_key.path[-1]
            for key in self._keys_read(unit, asset, dependency.partition_mapping):
                yield Unit(asset, key)

    def _keys_read(self, unit: Unit, asset: str, mapping: dg.PartitionMapping | None) -> list[str | None]:
        own, other = INVENTORY[unit.asset].by, INVENTORY[asset].by
        if other is None or own is None or isinstance(mapping, dg.AllPartitionMapping):
            return self.partitions.keys(other)
        if not isinstance(mapping, dg.StaticPartitionMapping):
            return [unit.partition]
        reached = mapping.downstream_partition_keys_by_upstream_partition_key
        return [key for key in self.partitions.keys(other) if key and unit.partition in _several(reached.get(key, ()))]


def _several(keys: str | Collection[str]) -> Collection[str | None]:
    return [keys] if isinstance(keys, str) else list(keys)


def open_catalog(
    lake: LakeResource,
    duckdb: DuckDBResource,
    postgres: PostgresResource,
    published: PublishedResource,
    partitions: Partitions,
) -> Catalog:
    """The catalog over the stores of one atlas; an embedded Postgres is started."""
    stores: dict[StoreName, Store] = {
        "lake": LakeStore(lake.open()),
        "duckdb": DuckDBStore(duckdb),
        "postgres": PostgresStore(postgres.server()),
        "published": published.store(),
    }
    return Catalog(stores, partitions)
