"""The command line on a whole atlas: answers that are true, JSON that parses, mistakes that get one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neuron_atlas_tests.end_to_end.conftest import PROMPTS, Run


def test_summary_counts_what_was_asked_for(built: Run) -> None:
    found = json.loads(built("neuron-atlas", "summary", "--json").stdout)
    assert found["graphs"] == sum(PROMPTS.values())
    assert found["quarantined"] == 0
    assert found["neurons"] == 6 * 384
    assert found["conservation_error"] < 1e-4
    assert {row["side"] for row in found["labels"]} == {"output", "input"}
    assert all(row["labeled"] > 100 for row in found["labels"])
    assert {row["metric"] for row in found["scores"]} >= {"detection", "simulation", "intervention"}


def test_search_finds_by_meaning_and_filters_hold(built: Run) -> None:
    found = json.loads(
        built(
            "neuron-atlas", "search", "arithmetic with numbers", "--mode", "meaning", "--layer", "3..", "--json"
        ).stdout
    )
    assert len(found) == 20
    assert all(hit["layer"] >= 3 for hit in found)
    similar = [hit["similarity"] for hit in found]
    assert similar == sorted(similar, reverse=True)
    keyword = json.loads(built("neuron-atlas", "search", "--keyword", "state", "--json").stdout)
    assert keyword
    assert all("state" in json.dumps(hit).lower() for hit in keyword)


def test_the_atlas_file_answers_as_the_database_does(built: Run, small_home: Path) -> None:
    words = ("neuron-atlas", "search", "state capitals", "--polarity", "+", "--json")
    file = built(*words, "--duckdb", str(small_home / "home" / "neuron_atlas.duckdb"))
    keys = ("neuron_id", "polarity", "side", "label")
    answers = [[tuple(hit[key] for key in keys) for hit in json.loads(done.stdout)] for done in (file, built(*words))]
    assert answers[0] == answers[1]
    assert len(answers[0]) == 20


def test_labels_go_out_and_come_back(built: Run, tmp_path: Path) -> None:
    done = json.loads(built("neuron-atlas", "export", str(tmp_path / "out"), "--format", "jsonl", "--json").stdout)
    back = json.loads(built("neuron-atlas", "import", str(tmp_path / "out"), "--json").stdout)
    (report,) = back["label_sets"]
    assert not report["is_new"]
    assert (
        done["files"]["descriptions"]["rows"]
        == report["label_set"]["n_descriptions"] + report["label_set"]["n_unlabeled"]
    )
    again = built("neuron-atlas", "export", str(tmp_path / "out"))
    assert again.returncode == 2
    assert "choose a new folder" in again.stderr


def test_a_neuron_of_the_answer_is_on_its_card(built: Run) -> None:
    sql = "SELECT neuron_id, output_label FROM neurons WHERE output_label IS NOT NULL ORDER BY n_prompts DESC LIMIT 1"
    (row,) = json.loads(built("neuron-atlas", "query", "--sql", sql, "--json").stdout)
    card = json.loads(built("neuron-atlas", "neuron", row["neuron_id"], "--json").stdout)
    assert row["output_label"] in {label["label"] for label in card["labels"]}
    assert card["upstream"] or card["downstream"]
    assert card["exemplars"][0]["tokens"]
    assert all(drives["layer"] > card["summary"][0]["layer"] for drives in card["weight_edges"])
    assert row["output_label"] in built("neuron-atlas", "neuron", row["neuron_id"]).stdout


def test_query_takes_a_file_as_the_first_word(built: Run, small_home: Path) -> None:
    with_file = built("neuron-atlas", "query", str(small_home / "home" / "neuron_atlas.duckdb"), "state", "--json")
    assert with_file.stdout == built("neuron-atlas", "query", "state", "--json").stdout
    assert len(json.loads(with_file.stdout)) > 0


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("neuron", "L4-17"), "L18/N6721"),
        (("neuron", "L77/N1"), "unknown neuron"),
        (("query", "/nowhere/atlas.duckdb", "x"), "/nowhere/atlas.duckdb"),
        (("query", "--sql", "DROP TABLE neurons"), "SELECT"),
        (("search", "x", "--layer", "a..b"), "3..12"),
        (("search",), "--keyword"),
        (("search", "x", "--duckdb", "atlas.duckdb", "--version", "v1"), "one model and version"),
        (("materialize", "raw_grafs"), "Did you mean 'raw_graphs'"),
        (("materialize", "raw_graphs", "--partition", "geografy"), "Did you mean 'geography'"),
        (("prompts", "add", "/nowhere.yaml"), "/nowhere.yaml"),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(built: Run, command: tuple[str, ...], words: str) -> None:
    done = built("neuron-atlas", *command)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not done.stdout


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("NEURON_ATLAS_MODEL", "/nowhere/model", "/nowhere/model"),
        ("NEURON_ATLAS_PROMPTS", "/nowhere/prompts", "NEURON_ATLAS_PROMPTS"),
        ("NEURON_ATLAS_TAU", "much", "NEURON_ATLAS_TAU"),
        ("NEURON_ATLAS_HOME", "/proc/nowhere", "NEURON_ATLAS_HOME"),
    ],
)
def test_a_wrong_setting_is_named(run: Run, setting: str, value: str, words: str) -> None:
    done = run(
        "neuron-atlas", "materialize", "raw_graphs", "--partition", "geography", DAGSTER_HOME="", **{setting: value}
    )
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_is_not_there_is_named_and_may_be_tried_again(run: Run) -> None:
    done = run("neuron-atlas", "search", "x", PG_HOST="127.0.0.1", PG_PORT="9")
    assert done.returncode == 75, done.stderr
    assert "127.0.0.1:9" in done.stderr


def test_added_prompts_become_a_partition(built: Run, small_home: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.jsonl"
    mine.write_text('{"prompt": "the capital of Ohio is"}\n')
    folder = tmp_path / "prompts"
    assert built("neuron-atlas", "prompts", "add", str(mine), NEURON_ATLAS_PROMPTS=str(folder)).returncode == 0
    again = built("neuron-atlas", "prompts", "add", str(mine), NEURON_ATLAS_PROMPTS=str(folder))
    assert again.returncode == 2
    assert "--replace" in again.stderr
    listed = json.loads(built("neuron-atlas", "prompts", "list", "--json", NEURON_ATLAS_PROMPTS=str(folder)).stdout)
    assert listed == [{"prompt_set": "mine", "kind": "domain", "prompts": 1, "description": ""}]
