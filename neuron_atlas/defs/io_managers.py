"""How an asset's tables are stored and loaded again: one IO manager per store, one behaviour.

An asset returns `Frames` (table name to DataFrame) and receives `Tables` (table name to LazyFrame). On the way out the
frames, which the asset's decorator has checked, are stored all or nothing and described in the run's metadata: rows, columns
with their meaning, content hash, location. On the way in:

- an asset partitioned alike, or by layer order, reads the partitions its dependency names, and all of them must be there;
- an asset in one piece reads the partitions that exist; it must find at least one (a check tells which are missing).
"""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg
from dagster_duckdb import DuckDBResource

from neuron_atlas.core.tables import tables_of
from neuron_atlas.core.tables.storage import AssetFrames
from neuron_atlas.defs.failures import dagster_failures
from neuron_atlas.defs.instance import tag_run_with_process
from neuron_atlas.defs.resources.atlas_resources import Resources
from neuron_atlas.defs.resources.locations import GraphWorkResource, LakeResource, PostgresResource
from neuron_atlas.defs.storage.provenance import LoadedTables, partition_name
from neuron_atlas.defs.storage.stores import DuckDBStore, LakeStore, PostgresStore, Store, StoredPartition
from neuron_atlas.errors import Incomplete

PROVENANCE = "provenance"
"""The metadata key under which an asset hands its provenance to the IO manager."""


class TableIOManager(dg.ConfigurableIOManager):
    """What the IO managers share; a subclass names its store."""

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        tag_run_with_process(context)

    def store(self) -> Store:
        """The store, opened for this piece of work."""
        raise NotImplementedError

    def handle_output(self, context: dg.OutputContext, obj: AssetFrames) -> None:
        asset = context.asset_key.path[-1]
        partition = context.asset_partition_key if context.has_asset_partitions else None
        with dagster_failures():
            stored = self.store().write(asset, partition, obj, _provenance(context.output_metadata))
        context.add_output_metadata(storage_metadata(asset, stored))

    def load_input(self, context: dg.InputContext) -> LoadedTables:
        asset = context.asset_key.path[-1]
        wanted: list[str | None] = list(context.asset_partition_keys) if context.has_asset_partitions else [None]
        with dagster_failures():
            return load(self.store(), asset, wanted, allow_missing=not context.has_partition_key)


def load(store: Store, asset: str, wanted: list[str | None], *, allow_missing: bool) -> LoadedTables:
    """Read partitions of an asset with their content hashes.

    Raises `Incomplete` when one is missing; with `allow_missing`, only when all are.
    """
    found = {partition: stored for partition in wanted if (stored := store.find(asset, partition)) is not None}
    if allow_missing and wanted and not found:
        raise Incomplete(
            f"{asset} has not been materialized yet ({len(wanted)} partition(s) wanted, 0 found). "
            f"Run: dagster asset materialize -m neuron_atlas.definitions --select {asset}"
        )
    read = list(found) if allow_missing else wanted
    sources = {partition_name(asset, partition): stored.content_hash for partition, stored in found.items()}
    return LoadedTables(store.read(asset, read), sources)


def storage_metadata(asset: str, stored: StoredPartition) -> dict[str, dg.MetadataValue]:
    """What the Dagster UI shows of stored tables: rows, columns of the main table with their meaning, hash, location."""
    main, *others = tables_of(asset)
    columns = [dg.TableColumn(c.name, str(c.dtype), c.meaning) for c in main.columns]
    shown: dict[str, dg.MetadataValue] = {
        "dagster/row_count": dg.MetadataValue.int(stored.rows[main.name]),
        "dagster/column_schema": dg.MetadataValue.table_schema(dg.TableSchema(columns)),
        "content_hash": dg.MetadataValue.text(stored.content_hash),
        "location": dg.MetadataValue.path(stored.location),
    }
    return shown | {f"rows/{table.name}": dg.MetadataValue.int(stored.rows[table.name]) for table in others}


def _provenance(metadata: Mapping[str, object]) -> Mapping[str, str]:
    """The provenance that the asset's decorator attached; empty for tables that came another way."""
    value = metadata.get(PROVENANCE)
    data = value.data if isinstance(value, dg.JsonMetadataValue) else None
    return {str(key): str(entry) for key, entry in data.items()} if isinstance(data, Mapping) else {}


class ParquetIOManager(TableIOManager):
    """Parquet files of the lake: a folder per asset and partition, visible only when complete."""

    lake: LakeResource

    def store(self) -> LakeStore:
        return LakeStore(self.lake.open())


class GraphIOManager(ParquetIOManager):
    """The lake for `raw_graphs`: once a prompt set is published, the shards it was collected from are cleared away."""

    work: GraphWorkResource

    def handle_output(self, context: dg.OutputContext, obj: AssetFrames) -> None:
        super().handle_output(context, obj)
        with dagster_failures():
            self.work.clear(context.asset_partition_key)


class DuckDBIOManager(TableIOManager):
    """The working DuckDB file, through dagster-duckdb's resource; one transaction per write."""

    database: DuckDBResource

    def store(self) -> DuckDBStore:
        return DuckDBStore(self.database)


class PostgresIOManager(TableIOManager):
    """Tables in Postgres, given or embedded; one transaction per write."""

    server: PostgresResource

    def store(self) -> PostgresStore:
        return PostgresStore(self.server.server())


def build_io_managers(resources: Resources) -> dict[str, dg.ConfigurableIOManager]:
    """The IO managers of one atlas, on the lake and databases among its resources."""
    return {
        "graph_io_manager": GraphIOManager(lake=resources.lake, work=resources.graph_work),
        "parquet_io_manager": ParquetIOManager(lake=resources.lake),
        "duckdb_io_manager": DuckDBIOManager(database=resources.duckdb),
        "postgres_io_manager": PostgresIOManager(server=resources.postgres),
    }
