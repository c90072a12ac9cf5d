"""Backfills through the doors of the UI: its GraphQL server and Dagster's daemon, as `neuron-atlas dev` starts them.

Takes minutes (a process per layer): runs with NEURON_ATLAS_BACKFILL=1.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from neuron_atlas import demo
from neuron_atlas_tests.end_to_end.conftest import Run, environment

pytestmark = [
    pytest.mark.xdist_group("end_to_end"),
    pytest.mark.skipif("NEURON_ATLAS_BACKFILL" not in os.environ, reason="takes minutes; set NEURON_ATLAS_BACKFILL=1"),
]
LAYERS = [f"L{layer:02}" for layer in range(6)]
PATIENCE_S = 600.0
LAUNCH = """
mutation ($given: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $given) { ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } }
}
"""
STATE = """
query ($id: String!, $runs: RunsFilter!) {
  partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } }
  runsOrError(filter: $runs) { ... on Runs { results { runId status startTime endTime tags { key value } } } }
}
"""


@dataclass(frozen=True)
class LayerRun:
    """One run of a backfill; times in seconds since 1970, missing before they are."""

    layer: str
    status: str
    start: float | None
    end: float | None


@dataclass(frozen=True)
class Ui:
    """The server of the UI."""

    url: str

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        """The data of one GraphQL question."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as reply:
            return json.load(reply)["data"]

    def backfill(self, asset: str, partitions: list[str]) -> str:
        """What the button "Materialize" of an asset's page does; returns the backfill's id."""
        given = {"assetSelection": [{"path": [asset]}], "partitionNames": partitions}
        return self.ask(LAUNCH, given=given)["launchPartitionBackfill"]["backfillId"]

    def state(self, backfill: str) -> tuple[str, list[LayerRun]]:
        """Status of a backfill, and its runs in the order of their start."""
        tag = {"key": "dagster/backfill", "value": backfill}
        found = self.ask(STATE, id=backfill, runs={"tags": [tag]})
        runs = [
            LayerRun(
                next(tag["value"] for tag in run["tags"] if tag["key"] == "dagster/partition"),
                run["status"], run["startTime"], run["endTime"],
            )
            for run in found["runsOrError"]["results"]
        ]  # fmt: skip
        return found["partitionBackfillOrError"]["status"], sorted(runs, key=lambda run: run.start or float("inf"))


def until(question: Callable[[], bool], what: str) -> None:
    """Ask again until it holds."""
    pause, end = threading.Event(), time.monotonic() + PATIENCE_S
    while not question():
        assert time.monotonic() < end, f"{what}: not within {PATIENCE_S:.0f} s"
        pause.wait(0.5)


@contextmanager
def ui(home: Path) -> Iterator[tuple[Ui, subprocess.Popen[bytes]]]:
    """`neuron-atlas dev` in a process group of its own, which is killed at the end, the daemon and its runs with it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (home / "dev.log").open("ab") as log:
        process = subprocess.Popen(
            ["neuron-atlas", "dev", "--port", str(port)], env=environment(home), cwd=demo.MODEL_DIR.parents[2],
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    served = Ui(f"http://127.0.0.1:{port}")

    def answers() -> bool:
        assert process.poll() is None, (home / "dev.log").read_text()[-3000:]
        try:
            return bool(served.ask("{ version }"))
        except urllib.error.URLError:
            return False

    try:
        until(answers, "the UI answers")
        yield served, process
    finally:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """kill -9 for the server, the daemon and every run, at once."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def test_all_layers_run_in_order_and_a_killed_backfill_goes_on_where_it_was(built: Run, small_home: Path) -> None:
    with ui(small_home) as (server, process):
        whole = server.backfill("output_labels", LAYERS)
        until(lambda: server.state(whole)[0] not in ("REQUESTED", "COMPLETING"), "the backfill ends")
        status, runs = server.state(whole)
        assert status == "COMPLETED_SUCCESS"
        assert [run.layer for run in runs] == LAYERS[::-1]
        for later, earlier in pairwise(runs):
            assert later.end is not None
            assert earlier.start is not None
            assert later.end <= earlier.start

        broken = server.backfill("output_labels", LAYERS)
        until(lambda: [r.status for r in server.state(broken)[1]] == ["SUCCESS", "SUCCESS", "STARTED"], "a third run")
        kill(process)
    with ui(small_home) as (server, _):
        until(lambda: server.state(broken)[0] not in ("REQUESTED", "COMPLETING"), "the backfill goes on and ends")
        status, runs = server.state(broken)
        assert status == "COMPLETED_SUCCESS"
        ran = [(run.layer, run.status) for run in runs]
        assert ran == [
            ("L05", "SUCCESS"), ("L04", "SUCCESS"), ("L03", "FAILURE"),
            ("L03", "SUCCESS"), ("L02", "SUCCESS"), ("L01", "SUCCESS"), ("L00", "SUCCESS"),
        ]  # fmt: skip
