"""Checks of what is already stored: they run after their asset, and any time from the UI.

None of them blocks: what they find is damage or age of what lies there, to be mended by rerunning what they name.

Dagster reads the type of a check's context as it stands, so this module does without postponed annotations.
"""

from pathlib import Path

import dagster as dg
import polars as pl
from dagster_duckdb import DuckDBResource

from neuron_atlas.adapters.lake import Lake
from neuron_atlas.core.records import layer_key
from neuron_atlas.defs.catalog import open_catalog
from neuron_atlas.defs.errors import at_the_door
from neuron_atlas.defs.ingredients import LabelerResource, ModelResource
from neuron_atlas.defs.inventory import INVENTORY
from neuron_atlas.defs.partitions import Partitions
from neuron_atlas.defs.places import LakeResource, PostgresResource, PublishedResource
from neuron_atlas.defs.stores import PostgresStore
from neuron_atlas.errors import DamagedData

WARN = dg.AssetCheckSeverity.WARN
SIDES = ("output_labels", "input_labels")


def build_stored_checks(partitions: Partitions) -> list[dg.AssetChecksDefinition]:
    """Every check of stored data."""
    return [
        *(files_match_manifest(asset) for asset, entry in INVENTORY.items() if entry.store == "lake"),
        covers_every_partition("edge_stats", ["graph_stats"], partitions),
        covers_every_partition("atlas", [a for a, entry in INVENTORY.items() if entry.by], partitions),
        labels_are_current("output_labels"),
        labels_are_current("input_labels"),
        recall(),
    ]


def files_match_manifest(asset: str) -> dg.AssetChecksDefinition:
    """The files of an asset of the lake against the checksums written when they were published."""

    @dg.asset_check(
        asset=asset, name="files_match_manifest", description="Every file has the sha256 its manifest says."
    )
    def check(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
        found, opened = 0, Lake(Path(lake.root))  # a lake of its own verifies every file anew
        keys = [context.partition_key] if context.has_partition_key else opened.partitions(asset)
        damaged: list[str] = []
        for manifest in filter(None, (opened.manifest(asset, key) for key in keys)):
            found += len(manifest.tables)
            try:
                opened.verify(manifest)
            except DamagedData as error:
                damaged.append(str(error))
        says = "; ".join(damaged) or f"{found} files of {len(keys)} partition(s) match"
        return dg.AssetCheckResult(passed=not damaged, description=says, metadata={"files": found})

    return check


def covers_every_partition(asset: str, reads: list[str], partitions: Partitions) -> dg.AssetChecksDefinition:
    """An asset in one piece reads the partitions that exist; this names those that do not."""

    @dg.asset_check(
        asset=asset, name="covers_every_partition", description=f"Nothing of {', '.join(reads)} is missing."
    )
    def check(
        lake: LakeResource, duckdb: DuckDBResource, postgres: PostgresResource, published: PublishedResource
    ) -> dg.AssetCheckResult:
        with at_the_door():
            catalog = open_catalog(lake, duckdb, postgres, published, partitions)
            missing = [str(unit) for name in reads for unit in catalog.missing(name)]
        shown = ", ".join(missing[:8]) + (f" and {len(missing) - 8} more" if len(missing) > 8 else "")
        says = f"made without {shown}; materialize them, then {asset}" if missing else "nothing is missing"
        return dg.AssetCheckResult(
            passed=not missing, severity=WARN, description=says, metadata={"missing": len(missing)}
        )

    return check


def labels_are_current(asset: str) -> dg.AssetChecksDefinition:
    """Labels against the neighbours' labels they were made from."""

    @dg.asset_check(
        asset=asset,
        name="labels_are_current",
        description="The neighbours' labels that each label leaned on still stand.",
    )
    def check(postgres: PostgresResource) -> dg.AssetCheckResult:
        from neuron_atlas.core.labeling.choice import stale_labels

        with at_the_door():
            store = PostgresStore(postgres.server())
            labels = {name: table for side in SIDES for name, table in store.read(side, store.partitions(side)).items()}
        side = asset.removesuffix("_labels")
        stale = stale_labels(labels).filter(pl.col("side") == side)
        layers = sorted(stale["layer"].unique())
        says = f"{stale.height} labels lean on labels that have changed; rerun {asset} for {_keys(layers)}"
        return dg.AssetCheckResult(
            passed=stale.is_empty(),
            severity=WARN,
            description=says if layers else "every label leans on labels that stand",
            metadata={"stale": stale.height},
        )

    return check


def _keys(layers: list[int]) -> str:
    return ", ".join(layer_key(layer) for layer in layers)


def recall() -> dg.AssetChecksDefinition:
    """The vector index of the search database against an exact scan."""

    @dg.asset_check(
        asset="neuron_db", name="recall", description="The index finds at least 95 % of the true nearest labels."
    )
    def check(postgres: PostgresResource, model: ModelResource, labeler: LabelerResource) -> dg.AssetCheckResult:
        from neuron_atlas.adapters.neuron_db import check_recall, find_label_set

        with at_the_door():
            report = postgres.server().run(
                lambda connection: check_recall(
                    connection, find_label_set(connection, model=model.spec().revision, version=labeler.version())
                )
            )
        says = f"mean {report.recall:.3f}, worst {report.worst:.3f} of {report.n} questions, k = {report.k}"
        if not report.is_good:
            says += ". Searches scan exactly meanwhile; materialize neuron_db again to rebuild the index"
        return dg.AssetCheckResult(
            passed=report.is_good,
            severity=WARN,
            description=says,
            metadata={"recall": report.recall, "worst": report.worst},
        )

    return check
