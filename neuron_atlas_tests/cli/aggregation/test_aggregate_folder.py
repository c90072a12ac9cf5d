"""`neuron-atlas aggregate FOLDER`: graph files become statistics; interrupted, damaged, repeated, changed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner, Result

from neuron_atlas.adapters.atlas_duckdb import open_atlas, table_hashes
from neuron_atlas.adapters.graphs import folder_statistics
from neuron_atlas.cli import main


def document(
    prompt: str, *, token: int = 9, neuron: int = 7, weight: float = 4.0, layers: int = 2, scan: str = "tiny"
) -> dict[str, Any]:
    """A graph of another tool: `<bos>` and a word -> L0/N3 and L1/N`neuron` -> an answer, and something that was not kept."""

    def node(node_id: str, layer: str, kind: str, position: int, clerp: str = "", **extra: object) -> dict[str, Any]:
        return {"node_id": node_id, "feature": 0, "layer": layer, "ctx_idx": position, "feature_type": kind,
                "jsNodeId": "x", "clerp": clerp, **extra}  # fmt: skip

    logit = f"{layers + 1}_42_1"
    return {
        "metadata": {"slug": "g", "scan": scan, "prompt_tokens": ["<bos>", f" {prompt}"], "prompt": prompt},
        "qParams": {},
        "nodes": [
            node("E_1_0", "E", "embedding", 0),
            node(f"E_{token}_1", "E", "embedding", 1),
            node("0_3_1", "0", "cross layer transcoder", 1, activation=1.0),
            node(f"1_{neuron}_1", "1", "cross layer transcoder", 1, activation=-2.0),
            node("1_-1_1", "1", "mlp reconstruction error", 1),
            node(logit, str(layers + 1), "logit", 1, 'Output " sat" (p=0.750)'),
        ],
        "links": [
            {"source": f"E_{token}_1", "target": "0_3_1", "weight": 1.0},
            {"source": "0_3_1", "target": f"1_{neuron}_1", "weight": -2.0},
            {"source": f"1_{neuron}_1", "target": logit, "weight": weight},
            {"source": "1_-1_1", "target": logit, "weight": 1.0},
        ],
    }


def write(folder: Path, name: str, graph: dict[str, Any] | str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(graph if isinstance(graph, str) else json.dumps(graph))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five graphs, one with another neuron, and a file that is none."""
    for number, word in enumerate(("cat", "dog", "cow", "hen")):
        write(tmp_path / "graphs", f"g{number}", document(word, token=9 + number, weight=number + 1 / 7))
    write(tmp_path / "graphs", "g4", document("fox", token=13, neuron=8))
    write(tmp_path / "graphs", "bad", '{"nodes": [')
    return tmp_path / "graphs"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["aggregate", *map(str, arguments)])


def told(*arguments: object) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_folder_becomes_an_atlas(folder: Path) -> None:
    found = told(folder)
    assert (found["graphs"], found["resumed"], found["model"]) == (5, 0, "tiny")
    assert [bad["file"] for bad in found["set_aside"]] == ["bad.json"]
    with open_atlas(folder / "edge_stats.duckdb") as atlas:
        profiles = atlas.sql("SELECT layer, neuron, polarity, n_prompts, frequency FROM neuron_profiles ORDER BY ALL")
        assert profiles.rows() == [
            (0, 3, 1, 5, 1.0),
            (1, 7, -1, 4, pytest.approx(0.8)),
            (1, 8, -1, 1, pytest.approx(0.2)),
        ]
        wire = atlas.sql("SELECT tgt_neuron, n_prompts, weight_sum, sign_agreement FROM edges ORDER BY ALL")
        assert wire.rows() == [(7, 4, -8.0, 1.0), (8, 1, -2.0, 1.0)]
        assert " cat" in atlas.sql("SELECT token FROM vocabulary")["token"].to_list()
        tokens = atlas.sql("SELECT neuron, token, lift FROM token_associations WHERE place = 'active' ORDER BY ALL")
        animals = [(7, word, 1.25) for word in ("cat", "cow", "dog", "hen")]
        assert tokens.rows() == [*animals, (8, "fox", 5.0)]  # of five words, `<bos>` left out
        assert atlas.sql("SELECT count(*) FROM graphs WHERE reason IS NOT NULL").item() == 1


def test_clusters_are_found_in_it(folder: Path) -> None:
    told(folder)
    path = folder / "edge_stats.duckdb"
    done = CliRunner().invoke(main, ["cluster", "--duckdb", str(path), "--min-count", "1", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["run"]["n_links"] == 2
    assert found["run"]["bootstrap_unit"] == "links"  # the graphs themselves are not in the file


def test_an_interrupted_run_goes_on_and_ends_like_an_unbroken_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(folder, "-o", tmp_path / "whole.duckdb", "--checkpoint-dir", tmp_path / "whole")
    summed, batches = folder_statistics.sum_graphs, list[int]()

    def interrupted(*arguments: Any, **options: Any) -> Any:
        batches.append(1)
        if len(batches) == 3:
            raise KeyboardInterrupt
        return summed(*arguments, **options)

    monkeypatch.setattr(folder_statistics, "sum_graphs", interrupted)
    assert run(folder, "--batch-size", 2).exit_code != 0
    assert not (folder / "edge_stats.duckdb").exists()
    monkeypatch.undo()
    assert told(folder, "--batch-size", 2, "--resume")["resumed"] == 4
    assert table_hashes(folder / "edge_stats.duckdb") == table_hashes(tmp_path / "whole.duckdb")
    assert told(folder)["resumed"] == 6
    assert told(folder, "--fresh")["resumed"] == 0
    assert table_hashes(folder / "edge_stats.duckdb") == table_hashes(tmp_path / "whole.duckdb")


def test_only_what_is_new_or_changed_is_read_again(folder: Path, tmp_path: Path) -> None:
    first = told(folder, "--batch-size", 1, "--max-graphs", 3)
    assert (first["graphs"], len(first["set_aside"])) == (2, 1)
    write(folder, "g1", document("dog", neuron=9))
    write(folder, "h", document("owl"))
    os.remove(folder / "bad.json")
    again = told(folder, "--batch-size", 1)
    assert (again["graphs"], again["resumed"], again["set_aside"]) == (6, 1, [])
    told(folder, "-o", tmp_path / "anew.duckdb", "--checkpoint-dir", tmp_path / "anew")
    assert table_hashes(folder / "edge_stats.duckdb") == table_hashes(tmp_path / "anew.duckdb")


def test_batches_of_another_version_are_made_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_statistics, "version", lambda package: "0.0.0")
    told(folder)
    monkeypatch.undo()
    before = table_hashes(folder / "edge_stats.duckdb")
    again = told(folder)
    assert (again["graphs"], again["resumed"]) == (5, 0)
    after = table_hashes(folder / "edge_stats.duckdb")
    assert {name for name, content in after.items() if content != before[name]} == {"graphs"}  # says which version


def test_what_cannot_be_counted_is_set_aside_with_its_reason(folder: Path) -> None:
    write(folder, "huge", document("yak", weight=1e10))
    write(folder, "other", document("elk", scan="large"))
    write(folder, "twice", document("cat"))
    found = told(folder)
    reasons = {row["file"]: row["reason"] for row in found["set_aside"]}
    assert set(reasons) == {"bad.json", "huge.json", "other.json", "twice.json"}
    assert "finite numbers whose sums stay within" in reasons["huge.json"]
    assert reasons["other.json"] == "of model large; the folder's first graph is of tiny"
    assert reasons["twice.json"] == "the same prompt as g0.json"
    os.remove(folder / "g0.json")
    assert "twice.json" not in [row["file"] for row in told(folder)["set_aside"]]


def test_logits_are_one_target_whatever_layer_their_file_says(folder: Path) -> None:
    """Without the model's size at hand, a file may place them right above its highest neuron."""
    write(folder, "g5", document("bee", layers=5))
    told(folder)
    with duckdb.connect(folder / "edge_stats.duckdb", read_only=True) as connection:
        query = "SELECT target_layer, sum(n_prompts) FROM edge_stats WHERE target_kind = 'logit' GROUP BY ALL"
        assert connection.execute(query).fetchall() == [(5, 6)]


def test_mistakes_are_told(tmp_path: Path) -> None:
    write(tmp_path / "graphs", "bad", "{")
    result = run(tmp_path / "graphs")
    assert result.exit_code == 2
    assert "none of 1 files" in result.output
    assert run(tmp_path / "nowhere").exit_code == 2
    assert run("--resume").exit_code == 2  # without a folder there is nothing to resume
    assert run(tmp_path / "graphs", "--resume", "--fresh").exit_code == 2
    assert run(tmp_path / "graphs", "--partition", "geography").exit_code == 2
