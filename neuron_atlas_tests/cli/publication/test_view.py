"""`neuron-atlas view` on the demo model, with lines from a pipe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from neuron_atlas.cli import main

QUESTION = "the capital of the state containing Bend is"


def view(*arguments: str, lines: str = "", folder: Path) -> Result:
    environment = {"NEURON_ATLAS_HOME": str(folder), "COLUMNS": "140"}
    return CliRunner().invoke(main, ["view", *arguments], input=lines, env=environment)


def documents(result: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_conversation_from_a_pipe_as_lines_of_json(tmp_path: Path) -> None:
    lines = "\n".join(
        [QUESTION, "/filter attribution:10", "/top 3", "/neurons 2", "/steer 0", "/regenerate", "/clear", "/linter",
         "/show L3/N7", "/save " + str(tmp_path / "v.json"), "/clear all", "/load " + str(tmp_path / "v.json"), "/filter",
         "/help", "/quit", "never said"]
    )  # fmt: skip
    done = view("--json", "--max-new-tokens", "3", "--top", "2", lines=lines, folder=tmp_path)
    assert done.exit_code == 0, done.output
    said, filtered, top, neurons, steered, again, cleared, _linter, shown, saved, _all, loaded, filter_now, _help = (
        documents(done)
    )
    assert said["said"] == QUESTION
    assert isinstance(said["answer"], str)
    assert said["answer"]
    assert len(said["neurons"]) == 2  # pyright: ignore[reportArgumentType]
    assert filtered["filter"] == "attribution:10"
    assert len(top["neurons"]) == 3  # pyright: ignore[reportArgumentType]
    assert len(neurons["neurons"]) == 2  # pyright: ignore[reportArgumentType]
    assert 0 < int(str(steered["steered"])) <= 10
    assert again["said"] is None
    assert cleared == {"cleared": "steering"}
    assert len(shown["activations"]) == len(shown["tokens"]) == int(str(again["n_tokens"]))  # pyright: ignore[reportArgumentType]
    assert Path(str(saved["saved"])).is_file()
    assert loaded["turns"] == [{"role": "user", "text": QUESTION}, {"role": "assistant", "text": again["answer"]}]
    assert filter_now["json"] == {"kind": "attribution", "top_k": 10}
    assert "There is no atlas" in done.stderr


def test_a_text_and_a_filter_from_the_command_line_for_people(tmp_path: Path) -> None:
    done = view(
        "--text",
        QUESTION,
        "--filter",
        "to:Salem layer:1..",
        "--top",
        "4",
        lines="/regenerate\n/help\n",
        folder=tmp_path,
    )
    assert done.exit_code == 0, done.output
    assert "layer:1.. " not in done.stdout
    assert 'to:"Salem" layer:1..' in done.stdout
    assert "relevance" in done.stdout
    assert "/steer STRENGTH" in done.stdout


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ("/fitler layer:1", "Did you mean '/filter'"),
        ("/filter layr:1", "Did you mean 'layer'"),
        ("/filter L9/N0\n" + QUESTION, "outside a model"),
        ("/top", "no text yet"),
        ("/top many", "whole number"),
        ("/steer much", "needs a strength first"),
        ("/steer -1 L0/N0", "flip the tail"),
        ("/regenerate", "nothing to answer"),
        ("/show layer:1", "needs one neuron"),
        ("/save", "needs a file"),
        ("/load nowhere.json", "no saved view can be read"),
        ("/clear some", "nothing or all"),
        ("say <eos> now", "control token"),
    ],
)
def test_a_mistake_in_a_pipe_ends_it_with_what_was_expected(tmp_path: Path, lines: str, complaint: str) -> None:
    done = view(lines=lines + "\n", folder=tmp_path)
    assert done.exit_code == 2, done.output
    assert complaint in done.stderr


def test_the_atlas_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    done = view("--duckdb", str(tmp_path / "none.duckdb"), folder=tmp_path)
    assert done.exit_code == 2
    assert "there is no atlas" in done.stderr


def test_a_filter_may_wait_for_the_first_message(tmp_path: Path) -> None:
    done = view("--json", "--filter", "at:-1", lines=QUESTION + "\n", folder=tmp_path)
    waiting, said = documents(done)
    assert waiting["neurons"] is None
    assert {row["token"] for row in said["neurons"]} == {"."}  # pyright: ignore[reportArgumentType]


def test_help_has_an_example() -> None:
    done = CliRunner().invoke(main, ["view", "--help"])
    assert "neuron-atlas view --filter" in done.output
