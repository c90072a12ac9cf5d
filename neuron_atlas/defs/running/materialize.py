"""Running assets in this process, in the order that their dependencies need, without Dagster's daemon.

Each step of the plan (run_plan.py) is one Dagster run on the shared instance, so that it shows in the UI like any other. With
`only_missing`, an asset partition whose provenance has not changed is left alone; that is decided just before its step, when
everything it reads has been stored.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import dagster as dg
from dagster_shared.error import SerializableErrorInfo

from neuron_atlas.defs.failures import MAX_RETRIES
from neuron_atlas.defs.instance import PROCESS_TAG, process_tag
from neuron_atlas.defs.partitions import Partitions
from neuron_atlas.defs.running.run_plan import plan_steps
from neuron_atlas.defs.running.staleness import AssetPartition, StoredAssets
from neuron_atlas.defs.storage.provenance import resource_fingerprints
from neuron_atlas.errors import AtlasError, BadInput, PermanentError, TransientError, UserError


@dataclass(frozen=True, slots=True)
class RunStep:
    """One step of a run plan: its asset partitions, what became of them, and for how long it ran (seconds)."""

    parts: tuple[AssetPartition, ...]
    state: Literal["started", "done", "current"]
    seconds: float = 0.0
    run_id: str | None = None
    damage: tuple[str, ...] = ()
    """What was found damaged and set aside before the step."""


Listener: TypeAlias = Callable[[RunStep, int, int], None]
"""Called as (step, number of the step from 1, number of steps), when a step starts and when it has ended."""

INPUT_RESOURCES = frozenset({"prompt_sets", "corpora"})
"""Resources that read files which people write."""


@dataclass(frozen=True)
class InProcessRunner:
    """Runs assets of one atlas; `open_stored` opens the stores, when it has to be known what is out of date."""

    definitions: dg.Definitions
    resources: Mapping[str, object]
    partitions: Partitions
    instance: dg.DagsterInstance
    open_stored: Callable[[], StoredAssets]

    def run(
        self,
        assets: Sequence[str],
        *,
        partition: str | Collection[str] | None,
        only_missing: bool,
        verify: bool = False,
        fresh: bool,
        listener: Listener | None,
    ) -> list[RunStep]:
        """Run every partition of the assets, or some; returns what became of each step.

        Raises the first error as the asset raised it, and ends there: what is done stays done.
        """
        plan = list(plan_steps(assets, self.partitions, partition=partition))
        self._check_inputs(part for parts in plan for part in parts)
        tell = listener or (lambda step, number, of: None)
        steps: list[RunStep] = []
        for number, parts in enumerate(plan, start=1):
            damage = self._set_aside_damaged(parts, thorough=verify) if only_missing else ()
            to_run = self._outdated(parts) if only_missing else parts
            if not to_run:
                step = RunStep(parts, "current")
            else:
                tell(RunStep(to_run, "started", damage=damage), number, len(plan))
                began = time.monotonic()
                run_id = self._run(to_run, fresh=fresh)
                step = RunStep(to_run, "done", time.monotonic() - began, run_id, damage)
            steps.append(step)
            tell(step, number, len(plan))
        return steps

    def _check_inputs(self, parts: Iterable[AssetPartition]) -> None:
        """Read every prompt set and corpus of the plan before the first step runs, instead of one by one as their steps come.

        Raises `BadInput` that names every file that cannot be read as what it should be.
        """
        faults: dict[str, None] = {}
        for part in parts:
            required = self.definitions.resolve_assets_def(dg.AssetKey(part.asset)).required_resource_keys
            for key in required & INPUT_RESOURCES:
                try:
                    resource_fingerprints(self.resources, [key], part.partition)
                except UserError as fault:
                    faults[str(fault)] = None
        if faults:
            raise BadInput("; ".join(faults))

    def _set_aside_damaged(self, parts: tuple[AssetPartition, ...], *, thorough: bool) -> tuple[str, ...]:
        stored = self.open_stored()
        return tuple(text for part in parts if (text := stored.set_aside_damaged(part, thorough=thorough)) is not None)

    def _outdated(self, parts: tuple[AssetPartition, ...]) -> tuple[AssetPartition, ...]:
        """The asset partitions that have to run: out of date themselves, or reading one that runs in the same step."""
        stored, running = self.open_stored(), dict[AssetPartition, None]()
        for part in parts:
            definition = self.definitions.resolve_assets_def(dg.AssetKey(part.asset))
            if running.keys() & set(stored.reads(part, definition)) or not stored.is_current(
                part, definition, self.resources
            ):
                running[part] = None
        return tuple(running)

    def _run(self, parts: tuple[AssetPartition, ...], *, fresh: bool) -> str:
        """One Dagster run; returns its id. Raises what the asset raised."""
        config: dict[str, object] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        if fresh and any(part.asset == "raw_graphs" for part in parts):
            config["resources"] = {"tracing": {"config": {"fresh": True}}}
        job = self.definitions.resolve_implicit_global_asset_job_def()
        run_id = str(uuid.uuid4())
        try:
            result = job.execute_in_process(
                run_config=config,
                instance=self.instance,
                partition_key=parts[0].partition,
                asset_selection=[dg.AssetKey(part.asset) for part in parts],
                tags={PROCESS_TAG: process_tag()},
                raise_on_error=True,
                run_id=run_id,
            )
        except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError) as interruption:
            self._cancel(run_id)
            raise KeyboardInterrupt from interruption
        except dg.Failure as failure:
            if isinstance(failure.__cause__, AtlasError):
                raise failure.__cause__ from failure
            raise PermanentError(failure.description or "the run failed") from failure
        except dg.DagsterError as error:
            given_up = list[SerializableErrorInfo](getattr(error, "user_code_process_error_infos", ()))
            if not given_up or given_up[0].cause is None:
                raise
            message = _without_class_name(given_up[0].cause.message)
            raise TransientError(f"{message} (tried {MAX_RETRIES + 1} times)") from error
        return result.run_id

    def _cancel(self, run_id: str) -> None:
        """Say of an interrupted run that it was cancelled: Dagster itself takes a signal that no one asked it for as a failure."""
        run = self.instance.get_run_by_id(run_id)
        if run is not None and run.status != dg.DagsterRunStatus.CANCELED:
            self.instance.report_run_canceled(run, message="interrupted; the same command continues from here")


def _without_class_name(message: str) -> str:
    """The text of an error that Dagster shows as `module.Class: text`."""
    return message.strip().partition(": ")[2] or message.strip()
