"""A signal ends a run in order: exit code by signal, one line how to continue, the run cancelled, and the next run continues."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest

from neuron_atlas import demo
from neuron_atlas.adapters.tables.lake import Lake
from neuron_atlas_tests.end_to_end.conftest import environment

pytestmark = pytest.mark.xdist_group("end_to_end")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_cancels_the_run_and_the_same_command_continues(
    small_home: Path, tmp_path: Path, number: signal.Signals
) -> None:
    settings = environment(small_home) | {
        "NEURON_ATLAS_HOME": str(tmp_path), "DAGSTER_HOME": str(tmp_path / "dagster"), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    command = ["neuron-atlas", "materialize", "raw_graphs"]
    with subprocess.Popen(
        command, env=settings, cwd=demo.MODEL_DIR.parents[2], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        _await_run(tmp_path / "dagster", process)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert f"interrupted by {number.name}; what is finished is kept: run the same command again to continue" in said
    assert "Traceback" not in said
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster")) as instance:
        (run,) = instance.get_runs(limit=1)
        assert run.status == dg.DagsterRunStatus.CANCELED
    if number is not signal.SIGTERM:  # one of them shows that the next run continues
        return
    again = subprocess.run(
        command, env=settings, cwd=demo.MODEL_DIR.parents[2], capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr[-2000:]
    assert Lake(tmp_path / "lake").partitions("raw_graphs") == ["filler", "geography", "grammar"]


def _await_run(folder: Path, process: subprocess.Popen[str]) -> None:
    """Wait until an asset of a run is under way."""
    for _ in range(600):
        assert process.poll() is None
        if _is_started(folder / "history" / "runs.db"):
            return
        time.sleep(0.1)
    raise AssertionError("no run began")


def _is_started(file: Path) -> bool:
    """Read beside Dagster: two processes that open a new instance at once can spoil it."""
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as runs:
            return runs.execute("select count(*) from runs where status = 'STARTED'").fetchone() != (0,)
    except sqlite3.OperationalError:
        return False
