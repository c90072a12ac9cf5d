"""The pipeline through Dagster's own doors, on the small atlas: rerunning changes nothing, and both histories are one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neuron_atlas.adapters.atlas_duckdb import table_hashes
from neuron_atlas.adapters.tables.lake import Lake
from neuron_atlas_tests.end_to_end.conftest import PROMPTS, Run

pytestmark = pytest.mark.xdist_group("end_to_end")
DAGSTER = ("dagster", "asset", "materialize", "-m", "neuron_atlas.definitions", "--select")


def test_what_is_up_to_date_is_left_alone(built: Run) -> None:
    stops = json.loads(built("neuron-atlas", "materialize", "--json").stdout)
    assert {stop["state"] for stop in stops} == {"current"}
    assert len(stops) <= 60


def test_dagsters_command_line_makes_the_same_graphs(built: Run, small_home: Path) -> None:
    lake = Lake(small_home / "home" / "lake")
    before = lake.manifest("raw_graphs", "geography")
    done = built(*DAGSTER, "raw_graphs", "--partition", "geography")
    assert done.returncode == 0, done.stderr[-3000:]
    assert lake.manifest("raw_graphs", "geography") == before
    stops = json.loads(built("neuron-atlas", "materialize", "attribution", "--partition", "geography", "--json").stdout)
    assert [stop["state"] for stop in stops] == ["current"]


def test_a_layer_again_gives_the_same_labels_and_nothing_else_is_out_of_date(built: Run) -> None:
    again = built("neuron-atlas", "materialize", "output_labels", "--partition", "L03", "--force", "--json")
    assert [stop["state"] for stop in json.loads(again.stdout)] == ["done"]
    stops = json.loads(built("neuron-atlas", "materialize", "labeling", "circuits", "--json").stdout)
    assert {stop["state"] for stop in stops} == {"current"}


def test_publishing_again_gives_the_same_atlas(built: Run, small_home: Path) -> None:
    atlas = small_home / "home" / "neuron_atlas.duckdb"
    before = table_hashes(atlas)
    assert built("neuron-atlas", "materialize", "atlas", "--force").returncode == 0
    assert table_hashes(atlas) == before


def test_a_partition_works_on_a_fresh_instance(run: Run, tmp_path: Path) -> None:
    """Nothing has ever run there; the partition is known from the prompt folder."""
    (tmp_path / "dagster").mkdir()
    home = {"NEURON_ATLAS_HOME": str(tmp_path), "DAGSTER_HOME": str(tmp_path / "dagster")}
    done = run(*DAGSTER, "raw_graphs", "--partition", "filler", **home)
    assert done.returncode == 0, done.stderr[-3000:]
    manifest = Lake(tmp_path / "lake").manifest("raw_graphs", "filler")
    assert manifest is not None
    assert manifest.tables["graphs"].rows == PROMPTS["filler"]
    assert run(*DAGSTER, "raw_graphs", "--partition", "nowhere", **home).returncode != 0


def test_a_missing_input_fails_with_the_command_to_run(run: Run, tmp_path: Path) -> None:
    (tmp_path / "dagster").mkdir()
    home = {"NEURON_ATLAS_HOME": str(tmp_path), "DAGSTER_HOME": str(tmp_path / "dagster")}
    done = run(*DAGSTER, "graph_stats", "--partition", "filler", **home)
    assert done.returncode == 1
    assert "--select raw_graphs --partition filler" in done.stderr + done.stdout
