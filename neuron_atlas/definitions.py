"""What Dagster loads: the asset graph of one atlas. And a function that runs it without a daemon.

    dagster dev                                                            the UI
    dagster asset materialize -m neuron_atlas.definitions --select raw_graphs --partition geography
    neuron_atlas.definitions.materialize("aggregation")                    the same assets, in this process

Loading reads the settings, the names of prompt sets and corpora, and the model's config.json: no torch, no network, no
database. The assets are in defs/assets, one file each for attribution, aggregation, labeling, circuits and publication.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import dagster as dg
import polars as pl

from neuron_atlas.adapters.disk_faults import disk_faults_explained
from neuron_atlas.core.records import Tables
from neuron_atlas.defs.assets import build_assets
from neuron_atlas.defs.automation import build_automation
from neuron_atlas.defs.checks.stored import build_stored_checks
from neuron_atlas.defs.instance import open_instance
from neuron_atlas.defs.io_managers import build_io_managers
from neuron_atlas.defs.partitions import Partitions, read_partitions
from neuron_atlas.defs.resources.atlas_resources import Resources
from neuron_atlas.defs.running.materialize import InProcessRunner, Listener, RunStep
from neuron_atlas.defs.running.run_plan import select_assets
from neuron_atlas.defs.running.staleness import StoredAssets, open_stored_assets
from neuron_atlas.settings import Settings, load_settings


def build_definitions(
    settings: Settings | None = None, *, resources: Resources | None = None, partitions: Partitions | None = None
) -> dg.Definitions:
    """The definitions of one atlas; settings come from the environment and resources from the settings unless given.

    Raises `BadInput` naming the setting to correct.
    """
    settings = settings or load_settings()
    resources = resources or Resources.from_settings(settings)
    partitions = partitions or read_partitions(settings)
    return dg.Definitions.merge(
        dg.Definitions(
            assets=build_assets(partitions),
            asset_checks=build_stored_checks(partitions),
            resources={**resources.by_key(), **build_io_managers(resources)},
            executor=dg.in_process_executor,
        ),
        build_automation(partitions),
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What Dagster loads."""
    return build_definitions()


def materialize(
    selection: str | Sequence[str] = "*",
    *,
    partition: str | Collection[str] | None = None,
    only_missing: bool = False,
    verify: bool = False,
    fresh: bool = False,
    listener: Listener | None = None,
    settings: Settings | None = None,
    resources: Resources | None = None,
) -> list[RunStep]:
    """Run assets in this process, in the order they need, on the Dagster instance that the UI shows.

    `selection` names assets, stages (attribution, aggregation, labeling, circuits, publication), `*`, or a Dagster selection such
    as `+atlas`. `partition` is a prompt set, corpus or layer, or several; only assets that have them run then.
    `only_missing` leaves alone what a run would not change, judged by content; stored partitions that are damaged are then set
    aside and made again. Damage is looked for cheaply, or with `verify` by the checksum of everything stored. `fresh` drops
    the unfinished prompts of an interrupted run instead of resuming it. `listener` is called with (step, number, of) when a step
    starts and when it has ended.

    Raises the `AtlasError` of the first asset that failed; what was done before stays, and the same call continues from there.
    """
    settings = settings or load_settings()
    resources = resources or Resources.from_settings(settings)
    partitions = read_partitions(settings)
    definitions = build_definitions(settings, resources=resources, partitions=partitions)
    assets = select_assets(selection, definitions)
    r = resources

    def open_stored() -> StoredAssets:
        return open_stored_assets(r.lake, r.duckdb, r.postgres, r.published, partitions)

    with disk_faults_explained(settings.root), open_instance(settings) as instance:
        runner = InProcessRunner(definitions, resources.by_key(), partitions, instance, open_stored)
        return runner.run(
            assets, partition=partition, only_missing=only_missing, verify=verify, fresh=fresh, listener=listener
        )


def stored_tables(*assets: str, settings: Settings | None = None) -> Tables:
    """The tables of some assets as they are stored now, over all partitions that exist; an asset without any is left out.

    An embedded Postgres is started when it holds one of them.
    """
    settings = settings or load_settings()
    r, partitions = Resources.from_settings(settings), read_partitions(settings)
    stored = open_stored_assets(r.lake, r.duckdb, r.postgres, r.published, partitions)
    tables: dict[str, pl.LazyFrame] = {}
    for asset in assets:
        keys = [part.partition for part in stored.parts(asset) if stored.find(part) is not None]
        if keys:
            tables |= stored.store(asset).read(asset, keys)
    return tables
