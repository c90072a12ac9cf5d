"""`neuron-atlas validate`: the exit code says whether the files pass the level, the lines say why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from neuron_atlas.cli import main

GOOD: dict[str, Any] = {
    "metadata": {"slug": "s", "scan": "m", "prompt_tokens": ["a"], "prompt": "a"},
    "qParams": {},
    "nodes": [
        {"node_id": "1_7_0", "feature": 7, "layer": "1", "ctx_idx": 0, "feature_type": "lorsa", "jsNodeId": "x", "clerp": ""},
        {"node_id": "E_1_0", "feature": 0, "layer": "E", "ctx_idx": 0, "feature_type": "embedding", "jsNodeId": "x", "clerp": ""},
        {"node_id": "3_2_0", "feature": 2, "layer": "3", "ctx_idx": 0, "feature_type": "logit", "jsNodeId": "x",
         "clerp": 'Output "b" (p=0.5)'},
    ],
    "links": [],
}  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """One that passes the viewer's level, one that passes the schema, one that passes nothing."""
    (tmp_path / "good.json").write_text(json.dumps(GOOD))
    (tmp_path / "silent.json").write_text(json.dumps({**GOOD, "metadata": {**GOOD["metadata"], "slug": "a/b"}}))
    (tmp_path / "torn.json").write_text(json.dumps(GOOD)[:-5])
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["validate", *map(str, arguments)])


@pytest.mark.parametrize(
    ("name", "level", "code"),
    [
        ("good", "schema", 0),
        ("good", "viewer", 0),
        ("good", "lossless", 1),
        ("silent", "schema", 0),
        ("silent", "viewer", 1),
        ("torn", "schema", 1),
    ],
)
def test_the_exit_code_says_whether_the_level_passes(files: Path, name: str, level: str, code: int) -> None:
    assert run(files / f"{name}.json", "--level", level).exit_code == code


def test_every_file_is_named_with_its_faults(files: Path) -> None:
    result = run(files / "good.json", files / "silent.json", files / "torn.json")
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert [line.split()[0] for line in lines] == ["ok", "lossless", "FAIL", "viewer", "lossless", "FAIL", "schema"]
    assert "neuronpedia form, 3 nodes, 0 links" in lines[0]
    assert "metadata.slug is 'a/b'" in result.output


def test_machines_get_the_same(files: Path) -> None:
    result = run(files / "silent.json", "--json")
    (found,) = json.loads(result.stdout)
    assert (found["passes"], found["slug"], found["nodes"]) == (False, "a/b", 3)
    assert [fault["level"] for fault in found["faults"]] == ["viewer", "lossless"]


def test_a_file_that_is_not_there_is_a_mistake_of_the_caller(files: Path) -> None:
    result = run(files / "absent.json")
    assert result.exit_code == 2
    assert "absent.json: cannot be opened" in result.output
