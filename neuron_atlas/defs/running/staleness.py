"""What is stored of every asset, and what is missing or out of date: what `only_missing` and the checks ask.

An asset partition is up to date when the provenance that a run would have now equals the one it was stored with
(defs/storage/provenance.py), whether the Dagster UI, its command line or `materialize` made it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

import dagster as dg
from dagster_duckdb import DuckDBResource

from neuron_atlas.defs.asset_registry import ASSET_REGISTRY, StoreName
from neuron_atlas.defs.partitions import Partitions
from neuron_atlas.defs.resources.locations import LakeResource, PostgresResource, PublishedResource
from neuron_atlas.defs.storage.provenance import build_provenance, partition_name, resource_fingerprints
from neuron_atlas.defs.storage.stores import DuckDBStore, LakeStore, PostgresStore, Store, StoredPartition


@dataclass(frozen=True, slots=True, order=True)
class AssetPartition:
    """One asset and one of its partitions (None: the asset is in one piece)."""

    asset: str
    partition: str | None = None

    def __str__(self) -> str:
        return partition_name(self.asset, self.partition)


class StoredAssets:
    """What the stores of one atlas hold, by asset and partition. A store is opened when something in it is first asked for."""

    def __init__(self, openers: Mapping[StoreName, Callable[[], Store]], partitions: Partitions) -> None:
        self._openers = dict(openers)
        self._opened: dict[StoreName, Store] = {}
        self.partitions = partitions

    def store(self, asset: str) -> Store:
        """The store of an asset, opened."""
        name = ASSET_REGISTRY[asset].store
        if name not in self._opened:
            self._opened[name] = self._openers[name]()
        return self._opened[name]

    def parts(self, asset: str) -> list[AssetPartition]:
        """Every partition of an asset, stored or not, in order."""
        return [AssetPartition(asset, key) for key in self.partitions.keys(ASSET_REGISTRY[asset].partitioned_by)]

    def find(self, part: AssetPartition) -> StoredPartition | None:
        """What is stored of an asset partition, or None."""
        return self.store(part.asset).find(part.asset, part.partition)

    def missing(self, asset: str) -> list[AssetPartition]:
        """The partitions of an asset that are not stored."""
        return [part for part in self.parts(asset) if self.find(part) is None]

    def set_aside_damaged(self, part: AssetPartition, *, thorough: bool = False) -> str | None:
        """Take an asset partition out of its store if it is damaged, so that a run makes it again; returns what was wrong and where
        it went, or None."""
        store = self.store(part.asset)
        damage = store.damage(part.asset, part.partition, thorough=thorough)
        return None if damage is None else f"{part}: {damage} ({store.set_aside(part.asset, part.partition)})"

    def is_current(
        self, part: AssetPartition, definition: dg.AssetsDefinition, resources: Mapping[str, object]
    ) -> bool:
        """Whether a run of this asset partition now would have the provenance it was stored with."""
        stored = self.find(part)
        if stored is None:
            return False
        key = dg.AssetKey(part.asset)
        expected = build_provenance(
            code_version=definition.code_versions_by_key[key] or "",
            fingerprints=resource_fingerprints(resources, definition.required_resource_keys, part.partition),
            sources=[
                {str(read): found.content_hash for read in self.reads(part, definition) if (found := self.find(read))}
            ],
        )
        return dict(stored.provenance) == expected

    def reads(self, part: AssetPartition, definition: dg.AssetsDefinition) -> Iterator[AssetPartition]:
        """The asset partitions that one reads, its own other layers included."""
        for dependency in definition.get_asset_spec(dg.AssetKey(part.asset)).deps:
            asset = dependency.asset_key.path[-1]
            for key in self._keys_read(part, asset, dependency.partition_mapping):
                yield AssetPartition(asset, key)

    def _keys_read(self, part: AssetPartition, asset: str, mapping: dg.PartitionMapping | None) -> list[str | None]:
        own, other = ASSET_REGISTRY[part.asset].partitioned_by, ASSET_REGISTRY[asset].partitioned_by
        if other is None or own is None or isinstance(mapping, dg.AllPartitionMapping):
            return self.partitions.keys(other)
        if not isinstance(mapping, dg.StaticPartitionMapping):
            return [part.partition]
        reached = mapping.downstream_partition_keys_by_upstream_partition_key
        return [key for key in self.partitions.keys(other) if key and part.partition in _several(reached.get(key, ()))]


def _several(keys: str | Collection[str]) -> Collection[str | None]:
    return [keys] if isinstance(keys, str) else list(keys)


def open_stored_assets(
    lake: LakeResource,
    duckdb: DuckDBResource,
    postgres: PostgresResource,
    published: PublishedResource,
    partitions: Partitions,
) -> StoredAssets:
    """The stores of one atlas. An embedded Postgres is started when one of its assets is first asked for."""
    openers: dict[StoreName, Callable[[], Store]] = {
        "lake": lambda: LakeStore(lake.open()),
        "duckdb": lambda: DuckDBStore(duckdb),
        "postgres": lambda: PostgresStore(postgres.server()),
        "published": published.store,
    }
    return StoredAssets(openers, partitions)
