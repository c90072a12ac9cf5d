"""The shared Dagster instance: made once, and not held up by runs whose process is gone."""

from __future__ import annotations

import multiprocessing
import os
import stat
from pathlib import Path

import dagster as dg
import pytest
import yaml

from neuron_atlas.adapters.sqlite_files import open_sqlite
from neuron_atlas.defs.instance import (
    PROCESS_TAG,
    fail_dead_runs,
    instance_config,
    instance_home,
    open_instance,
    process_tag,
)
from neuron_atlas.defs.io_managers import ParquetIOManager
from neuron_atlas.defs.resources.locations import LakeResource, PublishedResource
from neuron_atlas.settings import Settings


def _nothing() -> None: ...


@pytest.fixture
def dead_process() -> str:
    """The tag of a process that has ended."""
    process = multiprocessing.get_context("spawn").Process(target=_nothing)
    process.start()
    assert process.pid is not None
    tag = process_tag(process.pid)
    process.join()
    return tag


def test_it_lies_in_the_home_folder_unless_dagster_home_says_otherwise(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert instance_home(settings) == tmp_path / "home" / "dagster"
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "own"))
    assert instance_home(settings) == tmp_path / "own"


def test_it_gets_the_projects_configuration_and_keeps_ones_own(settings: Settings):
    with open_instance(settings) as instance:
        assert instance.run_retries_enabled
        assert not instance.run_retries_max_retries > 1
        assert not instance.telemetry_enabled
    config = instance_home(settings) / "dagster.yaml"
    assert config.read_text() == instance_config()
    config.write_text("telemetry: {enabled: false}\n")
    with open_instance(settings):
        assert config.read_text() == "telemetry: {enabled: false}\n"


def test_a_crash_is_retried_once_and_a_failed_step_is_not():
    config = yaml.safe_load(instance_config())
    assert config["run_monitoring"]["enabled"] is True
    assert config["run_retries"] == {"enabled": True, "max_retries": 1, "retry_on_asset_or_op_failure": False}
    assert config["concurrency"]["pools"]["default_limit"] == 1


def test_the_run_of_a_killed_process_is_failed_and_its_pool_is_free(settings: Settings, dead_process: str):
    with open_instance(settings) as instance:
        storage = instance.event_log_storage
        dead = instance.create_run_for_job(_job(), tags={PROCESS_TAG: dead_process}, status=dg.DagsterRunStatus.STARTED)
        alive = instance.create_run_for_job(
            _job(), tags={PROCESS_TAG: process_tag()}, status=dg.DagsterRunStatus.STARTED
        )
        foreign = instance.create_run_for_job(_job(), status=dg.DagsterRunStatus.STARTED)
        storage.initialize_concurrency_limit_to_default("gpu")
        assert storage.claim_concurrency_slot("gpu", dead.run_id, "step").is_claimed
        assert not storage.claim_concurrency_slot("gpu", alive.run_id, "step").is_claimed

        assert fail_dead_runs(instance) == [dead.run_id]

        status = {run.run_id: run.status for run in instance.get_runs()}
        assert status[dead.run_id] == dg.DagsterRunStatus.FAILURE
        assert status[alive.run_id] == status[foreign.run_id] == dg.DagsterRunStatus.STARTED
        assert storage.claim_concurrency_slot("gpu", alive.run_id, "step").is_claimed


def test_a_run_tried_again_is_not_taken_for_the_dead_one_before_it(settings: Settings, dead_process: str):
    """Dagster copies the tags of a run to the next try; until that one is tagged with its own process, nothing is known of it."""
    with open_instance(settings) as instance:
        tags = {PROCESS_TAG: dead_process}
        first = instance.create_run_for_job(_job(), tags=tags, status=dg.DagsterRunStatus.FAILURE)
        again = instance.create_run_for_job(
            _job(), tags=tags, status=dg.DagsterRunStatus.STARTED, parent_run_id=first.run_id, root_run_id=first.run_id
        )
        assert fail_dead_runs(instance) == []
        instance.add_run_tags(again.run_id, {PROCESS_TAG: dead_process + "1"})
        assert fail_dead_runs(instance) == [again.run_id]


def test_every_run_is_tagged_with_its_process_before_its_assets_start(instance: dg.DagsterInstance, tmp_path: Path):
    tags: list[str] = []

    def note_tag() -> None:
        latest, *_ = instance.get_runs(limit=1)
        tags.append(latest.tags[PROCESS_TAG])

    @dg.asset(io_manager_key="io")
    def tables() -> None:
        note_tag()

    @dg.asset(required_resource_keys={"published"})
    def publication() -> None:
        note_tag()

    io = ParquetIOManager(lake=LakeResource(root=str(tmp_path)))
    published = PublishedResource(folder=str(tmp_path), atlas="")
    for asset in (tables, publication):
        dg.materialize([asset], instance=instance, resources={"io": io, "published": published}, raise_on_error=False)
    assert tags == [process_tag()] * 2


def _job() -> dg.JobDefinition:
    @dg.op
    def work() -> None: ...

    @dg.job
    def job() -> None:
        work()

    return job


def test_the_home_and_what_stands_in_it_are_closed_to_other_users_also_when_they_exist(settings: Settings):
    root = settings.root
    (root / "lake").mkdir(parents=True, mode=0o755)
    root.chmod(0o755)
    (root / "notes").mkdir(mode=0o755)  # somebody's own
    for name in ("tables.duckdb", "ledger.sqlite", "ledger.sqlite-wal"):
        (root / name).touch(mode=0o644)
    with open_instance(settings):
        (root / "neuron_atlas.duckdb").touch(mode=0o644)
        open_sqlite(root / "labels.sqlite").close()
        assert _mode(root / "labels.sqlite") == 0o600
    passing = 0o011 if os.geteuid() == 0 else 0  # root's embedded PostgreSQL runs as another user
    for name in (".", "lake", "dagster"):
        assert _mode(root / name) & ~passing == 0o700
    for name in ("tables.duckdb", "ledger.sqlite", "ledger.sqlite-wal", "neuron_atlas.duckdb", "labels.sqlite"):
        assert _mode(root / name) == 0o600
    assert _mode(root / "notes") == 0o755


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
