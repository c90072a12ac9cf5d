"""What may run without being asked: all of it is off until someone turns it on in the UI.

- `automation`: cheap assets that follow from others (`graph_stats`, `edge_stats`, `clusters`, `atlas`) carry the condition
  "eager" and are rerun when what they read has changed.
- `new_prompt_sets`: traces prompt sets that have no graphs yet, and says when the folder holds sets that the loaded
  definitions do not know (partitions are read when definitions load).
- `weekly_refresh`: statistics, clusters and the published atlas, on Mondays at 6.

Labels and label scores are never started by themselves: they may cost money. Launch a backfill for them.
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
        description="Graphs of one prompt set and their sums.",
    )
    refresh = dg.define_asset_job(
        "refresh", selection=list(REFRESHED), description="Everything over all prompt sets, up to the published atlas."
    )
    return dg.Definitions(
        jobs=[trace, refresh],
        schedules=[
            dg.ScheduleDefinition(
                name="weekly_refresh",
                job=refresh,
                cron_schedule="0 6 * * 1",
                execution_timezone="UTC",
                description="Statistics, clusters and the published atlas, on Mondays at 6.",
            )
        ],
        sensors=[
            dg.AutomationConditionSensorDefinition(
                "automation",
                target=dg.AssetSelection.assets("graph_stats", "edge_stats", "clusters", "atlas"),
                description="Reruns cheap assets when what they read has changed.",
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
        description="Traces prompt sets without graphs; says when the prompt folder is ahead of the definitions.",
    )
    def sensor(
        context: dg.SensorEvaluationContext, prompt_sets: PromptSetsResource
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        known = partitions.prompt_set_names
        done = context.instance.get_materialized_partitions(dg.AssetKey("raw_graphs"))
        for name in known:
            if name not in done:
                yield dg.RunRequest(run_key=f"trace {name}", partition_key=name)
        ahead = sorted(set(list_prompt_sets(Path(prompt_sets.folder))) - set(known))
        if ahead:
            yield dg.SkipReason(f"reload the definitions to see new prompt sets: {', '.join(ahead)}")
        elif set(known) <= done:
            yield dg.SkipReason(f"all {len(known)} prompt sets have graphs")

    return sensor
