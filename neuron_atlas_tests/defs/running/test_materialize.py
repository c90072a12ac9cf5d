"""Running without the daemon: what runs, what is left alone, what an error leaves behind. On a toy atlas of three layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from neuron_atlas import demo
from neuron_atlas.definitions import materialize
from neuron_atlas.defs.running.materialize import RunStep
from neuron_atlas.defs.running.staleness import AssetPartition
from neuron_atlas.errors import BadInput, DamagedData, Incomplete, PermanentError, TransientError
from neuron_atlas.settings import Settings

Toy = Any


def states(steps: list[Any]) -> dict[str, str]:
    return {str(part): step.state for step in steps for part in step.parts}


def hashes(toy: Toy) -> dict[str, str]:
    stored = toy.stored()
    parts = [part for asset in ("output_projections", "output_labels", "der_scores") for part in stored.parts(asset)]
    return {str(part): found.content_hash for part in parts if (found := stored.find(part))}


def test_layers_run_in_their_order_and_each_sees_the_later_ones(toy: Toy):
    toy.run()
    assert toy.calls == [
        *("output_projections@L00", "output_projections@L01", "output_projections@L02"),
        "der_scores",
        *("output_labels@L02", "output_labels@L01", "output_labels@L00"),
    ]
    labels = toy.lake.scan("output_labels")["output_labels"].collect().sort("layer")["label"].to_list()
    assert labels == ["after [1, 2]", "after [2]", "after []"]


def test_running_again_changes_nothing(toy: Toy):
    toy.run()
    before = hashes(toy)
    toy.run()
    assert hashes(toy) == before
    assert len(before) == 7


def test_what_is_up_to_date_is_left_alone(toy: Toy):
    toy.run()
    toy.calls.clear()
    assert set(states(toy.run(only_missing=True)).values()) == {"current"}
    assert toy.calls == []


def test_a_changed_resource_reruns_what_used_it_and_stops_where_content_is_the_same(toy: Toy):
    """Another model gives the same projections here: they run again, and nothing that reads them does."""
    toy.run()
    toy.calls.clear()
    toy.model = "second model"
    toy.run(only_missing=True)
    assert toy.calls == ["output_projections@L00", "output_projections@L01", "output_projections@L02"]


def test_changed_content_reruns_exactly_what_read_it(toy: Toy):
    """New labels of L01 concern L00 below it, and neither L02 nor the scores."""
    toy.run()
    toy.calls.clear()
    toy.values["output_labels@L01"] = 0.9
    toy.run("output_labels", partition="L01")
    assert states(toy.run(only_missing=True)) == {
        **{f"output_projections@L0{n}": "current" for n in range(3)},
        "der_scores": "current",
        "output_labels@L02": "current",
        "output_labels@L01": "current",
        "output_labels@L00": "done",
    }


def test_a_lost_partition_is_made_again(toy: Toy):
    toy.run()
    (toy.lake.folder("output_projections", "L01") / "manifest.json").unlink()
    toy.calls.clear()
    toy.run(only_missing=True)
    assert toy.calls == ["output_projections@L01"]


def test_a_failed_layer_stops_the_ones_that_read_it_and_the_same_call_goes_on_from_there(toy: Toy):
    toy.errors["output_labels@L01"] = DamagedData("row 7 contradicts row 9")
    with pytest.raises(DamagedData, match="row 7"):
        toy.run()
    assert toy.calls[-1] == "output_labels@L01"
    toy.errors.clear()
    toy.calls.clear()
    toy.run(only_missing=True)
    assert toy.calls == ["output_labels@L01", "output_labels@L00"]


def test_only_transient_errors_are_tried_again(toy: Toy, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("neuron_atlas.defs.failures.RETRY_SECONDS", 0)
    monkeypatch.setattr("neuron_atlas.defs.failures.MAX_RETRIES", 2)
    for error, tries in [(TransientError("busy"), 3), (PermanentError("broken"), 1), (ZeroDivisionError("a bug"), 1)]:
        toy.calls.clear()
        toy.errors["der_scores"] = error
        with pytest.raises(type(error)):
            toy.run("der_scores", "output_projections")
        assert toy.calls.count("der_scores") == tries, error


def test_a_failed_blocking_check_stores_nothing_and_dependents_do_not_start(toy: Toy):
    toy.values["output_projections@L01"] = -1.0  # no rows
    with pytest.raises(PermanentError, match="output_projections was not stored: not_empty"):
        toy.run()
    assert toy.stored().find(AssetPartition("output_projections", "L01")) is None
    assert toy.calls == ["output_projections@L00", "output_projections@L01"]
    key = dg.AssetKey("output_projections")
    assert toy.instance.get_materialized_partitions(key) == {"L00"}
    check = toy.instance.event_log_storage.get_latest_asset_check_execution_by_key([dg.AssetCheckKey(key, "not_empty")])
    assert [record.status.value for record in check.values()] == ["FAILED"]


def test_the_ui_shows_numbers_provenance_and_a_data_version_of_the_content(toy: Toy):
    toy.run("output_projections", partition="L00")
    event = toy.instance.get_latest_materialization_event(dg.AssetKey("output_projections"))
    assert event is not None
    shown = event.asset_materialization
    assert shown.metadata["dagster/row_count"].value == 1
    assert shown.metadata["provenance"].value == {"code": "1", "with model": "first model"}
    assert shown.tags["dagster/data_version"] == shown.metadata["content_hash"].value
    columns = shown.metadata["dagster/column_schema"].value.columns
    assert {c.name: c.description for c in columns}["weight_raw"].startswith("unembedding row")


def test_a_layer_whose_neighbours_are_missing_does_not_start(toy: Toy):
    toy.run("output_projections")
    with pytest.raises(Incomplete, match=r"output_labels L0[12] has not been materialized"):
        toy.run("output_labels", partition="L00")
    assert "output_labels@L00" not in toy.calls


def test_every_bad_prompt_set_is_named_before_anything_runs(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path / "home", prompts=tmp_path / "prompts", corpora=demo.CORPUS_DIR, model=str(demo.MODEL_DIR)
    )
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "good.yaml").write_text("{name: good, prompts: [the capital of Oregon is]}")
    (tmp_path / "prompts" / "later.yaml").write_text("{name: later, prompts: []}")
    (tmp_path / "prompts" / "other.jsonl").write_text("{")
    started: list[RunStep] = []
    with pytest.raises(BadInput) as raised:
        materialize("raw_graphs", settings=settings, listener=lambda step, number, of: started.append(step))
    assert "later.yaml" in str(raised.value)
    assert "other.jsonl" in str(raised.value)
    assert started == []
