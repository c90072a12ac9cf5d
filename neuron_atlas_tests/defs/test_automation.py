"""What may run by itself: off until turned on, and it starts nothing that costs money."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from neuron_atlas.definitions import build_definitions
from neuron_atlas.defs.automation import REFRESHED, build_automation
from neuron_atlas.defs.partitions import Partitions
from neuron_atlas.defs.resources.datasets import PromptSetsResource
from neuron_atlas.settings import Settings

PARTITIONS = Partitions(prompt_set_names=("a", "b"), corpus_names=(), layer_names=("L00",))
AUTOMATION = build_automation(PARTITIONS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").touch()
    return tmp_path


def tick(instance: dg.DagsterInstance, folder: Path) -> tuple[list[str], str | None]:
    """Partitions asked for, and what the sensor says."""
    sensors = {s.name: s for s in AUTOMATION.sensors or ()}
    resources = {"prompt_sets": PromptSetsResource(folder=str(folder))}
    definitions = build_definitions(Settings(home=folder / "home"), partitions=PARTITIONS)
    context = dg.build_sensor_context(instance=instance, resources=resources, definitions=definitions)
    data = sensors["new_prompt_sets"].evaluate_tick(context)
    return [str(r.partition_key) for r in data.run_requests or ()], data.skip_message


def test_prompt_sets_without_graphs_are_traced(instance: dg.DagsterInstance, folder: Path):
    assert tick(instance, folder) == (["a", "b"], None)
    instance.report_runless_asset_event(dg.AssetMaterialization("raw_graphs", partition="a"))
    assert tick(instance, folder) == (["b"], None)
    instance.report_runless_asset_event(dg.AssetMaterialization("raw_graphs", partition="b"))
    assert tick(instance, folder) == ([], "all 2 prompt sets have graphs")


def test_it_says_when_the_definitions_are_behind_the_folder(instance: dg.DagsterInstance, folder: Path):
    (folder / "c.yaml").touch()
    for name in ("a", "b"):
        instance.report_runless_asset_event(dg.AssetMaterialization("raw_graphs", partition=name))
    assert tick(instance, folder) == ([], "reload the definitions to see new prompt sets: c")


def test_nothing_is_on_by_default():
    for each in [*(AUTOMATION.sensors or ()), *(AUTOMATION.schedules or ())]:
        assert each.default_status.value == "STOPPED", each.name


def test_the_calendar_starts_no_labels():
    assert not {"output_labels", "input_labels", "label_scores"} & set(REFRESHED)
