"""Running assets in this process, in the order their dependencies ask for, without Dagster's daemon.

The walk goes over groups of assets that share their partitions: all prompt sets, all layers from the last down, and so on.
Each stop is one Dagster run on the shared instance, so that it shows in the UI like any other. With `only_missing`, a unit
whose recipe has not changed is left alone; the answer is sought just before its stop, when everything it reads is settled.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import dagster as dg
from dagster_shared.error import SerializableErrorInfo

from neuron_atlas.defs.asset_registry import INVENTORY
from neuron_atlas.defs.failures import MAX_RETRIES
from neuron_atlas.defs.instance import PROCESS_TAG, process_tag
from neuron_atlas.defs.partitions import Partitions
from neuron_atlas.defs.running.staleness import Catalog, Unit
from neuron_atlas.errors import AtlasError, BadInput, PermanentError, TransientError, UnknownName

LEGS: tuple[tuple[str, ...], ...] = (
    ("raw_graphs", "graph_stats", "faithfulness"),
    ("activation_stats",),
    ("output_projections", "input_projections"),
    ("edge_stats", "der_scores"),
    ("output_labels",),
    ("input_labels",),
    ("label_scores",),
    ("clusters", "profile_clusters", "cluster_labels", "analyses", "atlas", "neuron_db"),
)
"""Assets that run together, partition by partition; what an asset reads comes before it. Tested against the asset graph."""
LAST_FIRST = frozenset({"output_labels"})
"""Assets whose partitions run from the last to the first."""


@dataclass(frozen=True, slots=True)
class Stop:
    """One stop of the walk: which units, what became of them, and for how long it ran (seconds)."""

    units: tuple[Unit, ...]
    state: Literal["started", "done", "current"]
    seconds: float = 0.0
    run_id: str | None = None


Listener: TypeAlias = Callable[[Stop, int, int], None]
"""Called as (stop, number of the stop from 1, number of stops), when a stop starts and when it has ended."""


@dataclass(frozen=True)
class Walk:
    """A walk over some assets of one atlas; `catalog` opens the stores, when it has to be known what is out of date."""

    definitions: dg.Definitions
    resources: Mapping[str, object]
    partitions: Partitions
    instance: dg.DagsterInstance
    catalog: Callable[[], Catalog]

    def run(
        self,
        assets: Sequence[str],
        *,
        partition: str | Collection[str] | None,
        only_missing: bool,
        fresh: bool,
        listener: Listener | None,
    ) -> list[Stop]:
        """Run every unit of the assets, or those of some partitions; returns what became of each stop.

        Raises the first error as it was raised by the asset, and stops there: what is done stays done.
        """
        stops = list(plan(assets, self.partitions, partition=partition))
        tell = listener or (lambda stop, number, of: None)
        done: list[Stop] = []
        for number, units in enumerate(stops, start=1):
            if only_missing:
                units = self._outdated(units)
            if not units:
                stop = Stop(stops[number - 1], "current")
            else:
                tell(Stop(units, "started"), number, len(stops))
                began = time.monotonic()
                run_id = self._run(units, fresh=fresh)
                stop = Stop(units, "done", time.monotonic() - began, run_id)
            done.append(stop)
            tell(stop, number, len(stops))
        return done

    def _outdated(self, units: tuple[Unit, ...]) -> tuple[Unit, ...]:
        """The units that have to run: out of date themselves, or reading one that runs in the same stop."""
        catalog, running = self.catalog(), dict[Unit, None]()
        for unit in units:
            definition = self.definitions.resolve_assets_def(dg.AssetKey(unit.asset))
            if running.keys() & set(catalog.reads(unit, definition)) or not catalog.is_current(
                unit, definition, self.resources
            ):
                running[unit] = None
        return tuple(running)

    def _run(self, units: tuple[Unit, ...], *, fresh: bool) -> str:
        """One Dagster run; returns its id. Raises what the asset raised."""
        config: dict[str, object] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        if fresh and any(unit.asset == "raw_graphs" for unit in units):
            config["resources"] = {"tracing": {"config": {"fresh": True}}}
        job = self.definitions.resolve_implicit_global_asset_job_def()
        try:
            result = job.execute_in_process(
                run_config=config,
                instance=self.instance,
                partition_key=units[0].partition,
                asset_selection=[dg.AssetKey(unit.asset) for unit in units],
                tags={PROCESS_TAG: process_tag()},
                raise_on_error=True,
            )
        except dg.Failure as failure:
            if isinstance(failure.__cause__, AtlasError):
                raise failure.__cause__ from failure
            raise PermanentError(failure.description or "the run failed") from failure
        except dg.DagsterError as error:
            given_up = list[SerializableErrorInfo](getattr(error, "user_code_process_error_infos", ()))
            if not given_up or given_up[0].cause is None:
                raise
            raise TransientError(f"{_words(given_up[0].cause.message)} (tried {MAX_RETRIES + 1} times)") from error
        return result.run_id


def _words(message: str) -> str:
    """An error's own words, from `module.Class: words`."""
    return message.strip().partition(": ")[2] or message.strip()


def plan(
    assets: Sequence[str], partitions: Partitions, *, partition: str | Collection[str] | None
) -> Iterator[tuple[Unit, ...]]:
    """The units of each stop, in order. With a partition, or several, only assets that have them take part.

    Raises `UnknownName` when no selected asset has one of them.
    """
    wanted = {partition} if isinstance(partition, str) else None if partition is None else set(partition)
    left = set(wanted or ())
    for leg in LEGS:
        chosen = [asset for asset in leg if asset in assets]
        if not chosen:
            continue
        keys = partitions.keys(INVENTORY[chosen[0]].by)
        for key in reversed(keys) if chosen[0] in LAST_FIRST else keys:
            if wanted is None or key in wanted:
                left.discard(key or "")
                yield tuple(Unit(asset, key) for asset in chosen)
    if left:
        known = {key for asset in assets for key in partitions.keys(INVENTORY[asset].by) if key}
        raise UnknownName("partition", min(left), known, hint=f"Selected are {', '.join(assets)}.")


def select(selection: str | Sequence[str], definitions: dg.Definitions) -> list[str]:
    """Asset names from asset and group names (`aggregation`), `*`, or a Dagster selection (`+atlas`, `kind:duckdb`).

    Raises `UnknownName` or `BadInput`.
    """
    graph = definitions.resolve_asset_graph()
    groups = {graph.get(key).group_name: None for key in graph.toposorted_asset_keys}
    chosen: set[str] = set()
    for name in [selection] if isinstance(selection, str) else selection:
        if name in INVENTORY:
            chosen.add(name)
        elif name in groups:
            chosen |= {key.path[-1] for key in graph.toposorted_asset_keys if graph.get(key).group_name == name}
        elif name.isidentifier():
            raise UnknownName("asset or stage", name, [*INVENTORY, *map(str, groups)])
        else:
            chosen |= {key.path[-1] for key in _dagster_selection(name).resolve(graph)}
    return [asset for leg in LEGS for asset in leg if asset in chosen]


def _dagster_selection(text: str) -> dg.AssetSelection:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        try:
            return dg.AssetSelection.from_string(text)
        except dg.DagsterError as error:
            raise BadInput(
                f"{text!r} is no selection of assets: {error}. Expected names of assets or stages, '*', or a Dagster selection "
                "such as '+atlas' or 'kind:duckdb'"
            ) from error
