"""Checks of what is already stored: they run after their asset, and any time from the UI.

What they find is damage or age of what lies there, to be mended by rerunning what they name. Only `recall` blocks: a run that
publishes an index which loses neighbours has failed, though searches go on by scanning exactly.

Dagster reads the type of a check's context as it stands, so this module does without postponed annotations.
"""

from pathlib import Path

import dagster as dg
from dagster_duckdb import DuckDBResource

from neuron_atlas.adapters.tables.lake import Lake
from neuron_atlas.core.publication.search.records import RECALL_NEEDED
from neuron_atlas.core.records import Tables, layer_key
from neuron_atlas.defs.asset_registry import IN_ATLAS, INVENTORY
from neuron_atlas.defs.failures import at_the_door
from neuron_atlas.defs.partitions import Partitions
from neuron_atlas.defs.resources.inputs import ModelResource
from neuron_atlas.defs.resources.labeling import LabelerResource
from neuron_atlas.defs.resources.locations import LakeResource, PostgresResource, PublishedResource
from neuron_atlas.defs.running.staleness import open_catalog
from neuron_atlas.errors import DamagedData

WARN = dg.AssetCheckSeverity.WARN


def build_stored_checks(partitions: Partitions) -> list[dg.AssetChecksDefinition]:
    """Every check of stored data."""
    return [
        *(files_match_manifest(asset) for asset, entry in INVENTORY.items() if entry.store == "lake"),
        covers_every_partition("edge_stats", ["graph_stats"], partitions),
        covers_every_partition("atlas", [asset for asset in IN_ATLAS if INVENTORY[asset].by], partitions),
        labels_are_current(),
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


def labels_are_current() -> dg.AssetChecksDefinition:
    """The labels in the atlas against the neighbours' labels they were made from."""

    @dg.asset_check(
        asset="atlas",
        name="labels_are_current",
        description="The neighbours' labels that each label leaned on still stand.",
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
            description=f"{stale.height} labels lean on labels that have changed; rerun {' and '.join(rerun)}"
            if rerun
            else "every label leans on labels that stand",
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
            description=says,
            metadata={"recall": report.recall, "worst": report.worst},
        )

    return check
