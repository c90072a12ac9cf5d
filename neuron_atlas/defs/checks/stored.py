"""Checks of what is already stored: they run after their asset, and any time from the UI.

They find stored data that is damaged or out of date, and name what to rerun. Only `recall` blocks: a run that publishes an index
which loses neighbours has failed, though searches still work, by an exact scan.

Dagster reads the annotation of a check's context as an object, so this module has no `from __future__ import annotations`.
"""

from pathlib import Path

import dagster as dg
from dagster_duckdb import DuckDBResource

from neuron_atlas.adapters.tables.lake import Lake
from neuron_atlas.core.publication.search.search_result import RECALL_NEEDED
from neuron_atlas.core.records import Tables, layer_key
from neuron_atlas.defs.asset_registry import ASSET_REGISTRY, ASSETS_IN_ATLAS
from neuron_atlas.defs.failures import dagster_failures
from neuron_atlas.defs.partitions import Partitions
from neuron_atlas.defs.resources.labeler import LabelerResource
from neuron_atlas.defs.resources.locations import LakeResource, PostgresResource, PublishedResource
from neuron_atlas.defs.resources.subject_model import ModelResource
from neuron_atlas.defs.running.staleness import open_stored_assets
from neuron_atlas.errors import DamagedData

WARN = dg.AssetCheckSeverity.WARN


def build_stored_checks(partitions: Partitions) -> list[dg.AssetChecksDefinition]:
    """Every check of stored data."""
    return [
        *(files_match_manifest(name) for name, asset in ASSET_REGISTRY.items() if asset.store == "lake"),
        covers_every_partition("edge_stats", ["graph_stats"], partitions),
        covers_every_partition(
            "atlas", [asset for asset in ASSETS_IN_ATLAS if ASSET_REGISTRY[asset].partitioned_by], partitions
        ),
        labels_are_current(),
        recall(),
    ]


def files_match_manifest(asset: str) -> dg.AssetChecksDefinition:
    """The files of an asset of the lake against the checksums written when they were published."""

    @dg.asset_check(
        asset=asset, name="files_match_manifest", description="Every file has the sha256 its manifest says."
    )
    def check(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
        n_files, opened = 0, Lake(Path(lake.root))  # a new Lake has verified no file yet
        keys = [context.partition_key] if context.has_partition_key else opened.partitions(asset)
        damaged: list[str] = []
        for manifest in filter(None, (opened.manifest(asset, key) for key in keys)):
            n_files += len(manifest.tables)
            try:
                opened.verify(manifest)
            except DamagedData as error:
                damaged.append(str(error))
        message = "; ".join(damaged) or f"{n_files} files of {len(keys)} partition(s) match"
        return dg.AssetCheckResult(passed=not damaged, description=message, metadata={"files": n_files})

    return check


def covers_every_partition(asset: str, reads: list[str], partitions: Partitions) -> dg.AssetChecksDefinition:
    """An asset in one piece reads the partitions that exist; the check names those that do not."""

    @dg.asset_check(
        asset=asset, name="covers_every_partition", description=f"Every partition of {', '.join(reads)} is stored."
    )
    def check(
        lake: LakeResource, duckdb: DuckDBResource, postgres: PostgresResource, published: PublishedResource
    ) -> dg.AssetCheckResult:
        with dagster_failures():
            stored = open_stored_assets(lake, duckdb, postgres, published, partitions)
            missing = [str(part) for name in reads for part in stored.missing(name)]
        shown = ", ".join(missing[:8]) + (f" and {len(missing) - 8} more" if len(missing) > 8 else "")
        message = f"made without {shown}; materialize them, then {asset}" if missing else "every partition is stored"
        return dg.AssetCheckResult(
            passed=not missing, severity=WARN, description=message, metadata={"missing": len(missing)}
        )

    return check


def labels_are_current() -> dg.AssetChecksDefinition:
    """The labels in the atlas against the neighbour labels they were made with."""

    @dg.asset_check(
        asset="atlas",
        name="labels_are_current",
        description="No neighbour label that a label was made with has changed since.",
        additional_ins={name: dg.AssetIn(name) for name in ("output_labels", "input_labels")},
    )
    def check(output_labels: Tables, input_labels: Tables) -> dg.AssetCheckResult:
        from neuron_atlas.core.labeling.evidence.label_rows import stale_labels

        stale = stale_labels({**output_labels, **input_labels})
        rerun = [
            f"{side}_labels for {', '.join(layer_key(layer) for layer in sorted(rows['layer'].unique()))}"
            for (side,), rows in stale.sort("side").group_by("side", maintain_order=True)
        ]
        return dg.AssetCheckResult(
            passed=stale.is_empty(),
            severity=WARN,
            description=(
                f"{stale.height} labels were made with neighbour labels that have changed since; "
                f"rerun {' and '.join(rerun)}"
                if rerun
                else "no neighbour label has changed since"
            ),
            metadata={"stale": stale.height},
        )

    return check


def recall() -> dg.AssetChecksDefinition:
    """The vector index of the search database against an exact scan."""

    @dg.asset_check(
        asset="neuron_db",
        name="recall",
        description=f"The index finds at least {RECALL_NEEDED:.0%} of the true nearest labels.",
        blocking=True,
    )
    def check(postgres: PostgresResource, model: ModelResource, labeler: LabelerResource) -> dg.AssetCheckResult:
        from neuron_atlas.adapters.neuron_db import check_recall, find_label_set

        with dagster_failures():
            report = postgres.server().run(
                lambda connection: check_recall(
                    connection, find_label_set(connection, model=model.spec().revision, version=labeler.version())
                )
            )
        message = f"mean {report.recall:.3f}, worst {report.worst:.3f} of {report.n} queries, k = {report.k}"
        if not report.is_good:
            message += ". Searches use an exact scan until the index is rebuilt: materialize neuron_db again"
        return dg.AssetCheckResult(
            passed=report.is_good,
            description=message,
            metadata={"recall": report.recall, "worst": report.worst},
        )

    return check
