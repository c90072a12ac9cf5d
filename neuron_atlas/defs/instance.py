"""The Dagster instance that the UI, its command line and `neuron-atlas` share: DAGSTER_HOME where it is set, else `<home>/dagster`.

The folder gets a copy of the project's dagster.yaml when it has none. Opening it here also creates its databases, once and
under a lock: two Dagster processes that meet on a fresh SQLite instance can leave its schema with two heads, which no later
command survives. And it marks runs whose process was killed as failed: they would hold their pools, and the backfill they
belong to, for ever. Dagster notices by itself only while the server that started such a run is alive.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.resources import files
from pathlib import Path

import dagster as dg
from filelock import FileLock

from neuron_atlas.adapters.files import make_folder, make_private, write_atomically
from neuron_atlas.settings import Settings

PROCESS_TAG = "neuron_atlas/process"
"""On every run: host, process id and its start time, by which a run whose process is gone is recognised."""
PRIVATE = ("lake", "dagster", "postgres", "published", "analyses", "embedder", "*.duckdb", "*.duckdb.*", "*.sqlite*")
"""What stands in the home: closed to other users, like the home itself."""


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The instance, ready for use."""
    home = make_folder(instance_home(settings))
    with ExitStack() as opened:
        make_private(settings.root, PRIVATE)
        opened.callback(make_private, settings.root, PRIVATE)  # what was made meanwhile as well
        with FileLock(home / "neuron_atlas.lock"):
            if not (home / "dagster.yaml").exists():
                write_atomically(home / "dagster.yaml", instance_config())
            instance = opened.enter_context(dg.DagsterInstance.from_config(str(home)))
            instance.get_runs_count()  # the first query creates the databases
            instance.get_latest_materialization_event(dg.AssetKey("raw_graphs"))
            fail_dead_runs(instance)
        yield instance


def instance_home(settings: Settings) -> Path:
    """Dagster's own folder."""
    given = os.environ.get("DAGSTER_HOME")
    return Path(given).expanduser() if given else settings.root / "dagster"


def instance_config() -> str:
    """The project's dagster.yaml: beside the package in a checkout, inside it when installed."""
    checkout = Path(__file__).parents[2] / "dagster.yaml"
    if checkout.exists():
        return checkout.read_text()
    return files("neuron_atlas.defs").joinpath("dagster.yaml").read_text()


def process_tag(pid: int | None = None) -> str:
    """The text that identifies one process of one machine; a later process with the same id has another."""
    pid = os.getpid() if pid is None else pid
    return f"{socket.gethostname()}/{pid}/{_start_time(pid)}"


def tag_run_with_process(context: dg.InitResourceContext) -> None:
    """Tag the run with this process as soon as its resources start: a run from the UI has no such tag yet."""
    run, instance, tag = context.run, context.instance, process_tag()
    if run is not None and instance is not None and run.tags.get(PROCESS_TAG) != tag:
        instance.add_run_tags(run.run_id, {PROCESS_TAG: tag})


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs of killed processes of this machine as failed and free their pools; returns their run ids."""
    dead: list[str] = []
    unfinished = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.NOT_STARTED]
    )
    for run in instance.get_runs(unfinished):
        tag = run.tags.get(PROCESS_TAG, "")
        host, _, rest = tag.partition("/")
        pid = rest.partition("/")[0]
        if (
            host != socket.gethostname()
            or not pid.isdigit()
            or process_tag(int(pid)) == tag
            or _has_tag_of_parent(instance, run)
        ):
            continue
        instance.report_run_failed(
            run, message="the process of this run was killed or crashed; the next run resumes its work"
        )
        if instance.event_log_storage.supports_global_concurrency_limits:
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        dead.append(run.run_id)
    return dead


def _has_tag_of_parent(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether a retried run still carries the process tag of the run before it, and none of its own yet."""
    before = instance.get_run_by_id(run.parent_run_id) if run.parent_run_id else None
    return before is not None and before.tags.get(PROCESS_TAG) == run.tags.get(PROCESS_TAG)


def _start_time(pid: int) -> str:
    """When a process started, in the kernel's ticks since boot; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
