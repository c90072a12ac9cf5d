"""Sensors and the schedule: what may run by itself. All of it is off until someone turns it on in the UI.

- `automation`: cheap assets that follow from others (`graph_stats`, `edge_stats`, `clusters`, `atlas`) carry the condition
  "eager" and are rerun when what they read has changed.
- `new_prompt_sets`: traces prompt sets that have no graphs yet, and says when the folder holds sets that the loaded
  definitions do not know (partitions are read when definitions load).
- `weekly_refresh`: statistics, clusters and the published atlas, on Mondays at 6.

Nothing here starts labels or label scores: they may cost money. Launch a backfill for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from neuron_atlas.adapters.datasets.prompt_sets import list_prompt_sets
from neuron_atlas.defs.partitions import Partitions
from neuron_atlas.defs.resources.datasets import PromptSetsResource

REFRESHED = (
    "edge_stats",
    "der_scores",
    "clusters",
    "profile_clusters",
    "cluster_labels",
    "analyses",
    "atlas",
    "neuron_db",
)


def build_automation(partitions: Partitions) -> dg.Definitions:
    """The sensors, the schedule and their jobs."""
    trace = dg.define_asset_job(
        "trace_prompt_set",
        selection=["raw_graphs", "graph_stats"],
        description="Traces one prompt set and sums its graphs.",
    )
    refresh = dg.define_asset_job(
        "refresh",
        selection=list(REFRESHED),
        description="Remakes what is made from all prompt sets, up to the published atlas.",
    )
    return dg.Definitions(
        jobs=[trace, refresh],
        schedules=[
            dg.ScheduleDefinition(
                name="weekly_refresh",
                job=refresh,
                cron_schedule="0 6 * * 1",
                execution_timezone="UTC",
                description="Remakes statistics, clusters and the published atlas, on Mondays at 6:00 UTC.",
            )
        ],
        sensors=[
            dg.AutomationConditionSensorDefinition(
                "automation",
                target=dg.AssetSelection.assets("graph_stats", "edge_stats", "clusters", "atlas"),
                description="Reruns the cheap assets graph_stats, edge_stats, clusters and atlas when what they read has changed.",
            ),
            new_prompt_sets(partitions, trace),
        ],
    )


def new_prompt_sets(partitions: Partitions, job: dg.UnresolvedAssetJobDefinition) -> dg.SensorDefinition:
    """The sensor that traces new prompt sets."""

    @dg.sensor(
        name="new_prompt_sets",
        job=job,
        minimum_interval_seconds=60,
        description="Traces prompt sets that have no graphs; says when the prompt folder holds sets that need a reload.",
    )
    def sensor(
        context: dg.SensorEvaluationContext, prompt_sets: PromptSetsResource
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        loaded = partitions.prompt_set_names
        done = context.instance.get_materialized_partitions(dg.AssetKey("raw_graphs"))
        for name in loaded:
            if name not in done:
                yield dg.RunRequest(run_key=f"trace {name}", partition_key=name)
        new = sorted(set(list_prompt_sets(Path(prompt_sets.folder))) - set(loaded))
        if new:
            yield dg.SkipReason(f"reload the definitions to see new prompt sets: {', '.join(new)}")
        elif set(loaded) <= done:
            yield dg.SkipReason(f"all {len(loaded)} prompt sets have graphs")

    return sensor
