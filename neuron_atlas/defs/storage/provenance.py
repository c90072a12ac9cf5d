"""What a stored partition was made from, and whether making it again could change it.

Provenance is a flat list of names and fingerprints: the asset's code version (`code`), one entry for everything that shapes it
and is not a table (`with model`, `with tracing` …: the fingerprint of each `FingerprintedResource` that the asset uses), and one
for every partition it read (`from graph_stats@geography`: its content hash). A store keeps it beside the tables. A partition
is up to date when the provenance that a run would have now is the one it was stored with; since the hashes are of content, a
rerun that yields the same rows makes nothing downstream out of date.

Dagster shows staleness too, but forgets inputs beyond a hundred partitions and knows neither prompt files nor weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

import dagster as dg
import polars as pl

from neuron_atlas.core.records import Tables


class FingerprintedResource(dg.ConfigurableResource[object], ABC):
    """A resource that shapes what an asset computes: when its fingerprint changes, what was made with it is out of date."""

    @abstractmethod
    def fingerprint(self, partition: str | None) -> str:
        """A short text that changes exactly when the outcome may; for one partition of the asset that uses it."""


class LoadedTables(dict[str, pl.LazyFrame]):
    """Tables of one upstream asset, as `Tables`, with the content hashes of the partitions they were read from.

    `sources` maps `asset@partition` (or `asset`) to the content hash.
    """

    def __init__(self, tables: Tables, sources: Mapping[str, str]) -> None:
        super().__init__(tables)
        self.sources = dict(sources)


def partition_name(asset: str, partition: str | None) -> str:
    """`graph_stats@geography`, or `edge_stats` for an asset in one piece."""
    return asset if partition is None else f"{asset}@{partition}"


def build_provenance(
    *, code_version: str, fingerprints: Mapping[str, str], sources: Iterable[Mapping[str, str]]
) -> dict[str, str]:
    """The provenance of one partition; the module's text lists its entries."""
    entries = {"code": code_version}
    entries |= {f"with {name}": fingerprint for name, fingerprint in fingerprints.items()}
    for source in sources:
        entries |= {f"from {name}": content for name, content in source.items()}
    return dict(sorted(entries.items()))


def resource_fingerprints(
    resources: Mapping[str, object], required: Iterable[str], partition: str | None
) -> dict[str, str]:
    """The fingerprints of the resources that an asset requires. IO managers and locations have none."""
    used = {key: resources.get(key) for key in required}
    return {
        key: resource.fingerprint(partition)
        for key, resource in used.items()
        if isinstance(resource, FingerprintedResource)
    }
