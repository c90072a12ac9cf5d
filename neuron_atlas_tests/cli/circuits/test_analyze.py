"""`neuron-atlas analyze` and `compare`: files, forms, resumption, mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from neuron_atlas.adapters.analyses.analysis_store import AnalysisStore
from neuron_atlas.cli import main
from neuron_atlas.core.circuits.analysis.analysis_record import read_record

PROMPT = "the capital of the state containing Tucson is"
STUDY = """
name: small
analyze: {random_sets: 2, compared_answers: 0}
prompts:
  - {prompt: the capital of the state containing Tucson is, contrast: [" Phoenix", " Boston"],
     donor: the capital of the state containing Worcester is, concepts: {capital: " Phoenix"}}
  - the capital of Texas is
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    import torch

    torch.set_num_threads(1)
    monkeypatch.setenv("NEURON_ATLAS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


def test_a_prompt_leaves_graph_record_and_page_and_its_graph_can_be_analyzed_again(run, tmp_path) -> None:
    told = run("analyze", PROMPT, "--contrastive", "Phoenix", "Boston", "--slug", "tucson", "--random-sets", 2)
    assert told.exit_code == 0, told.output
    assert "Modules" in told.stdout
    files = sorted(path.name for path in (tmp_path / "analyses").iterdir())
    assert files == ["tucson-analysis.html", "tucson-analysis.json", "tucson-graph.json"]
    record = read_record((tmp_path / "analyses/tucson-analysis.json").read_text())
    assert AnalysisStore(tmp_path / "home/analyses").read(record.model_revision) == [record]
    again = run("analyze", "--graph", "analyses/tucson-graph.json", "--slug", "again", "--random-sets", 2, "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["modules"] == record.model_dump(mode="json")["modules"]
    compared = run(
        "compare", "analyses/tucson-graph.json", "analyses/again-graph.json", "-o", "c.html", "-o", "c.json", "--json"
    )
    assert json.loads(compared.stdout)["similarities"]["links"] == 1.0
    assert (tmp_path / "c.html").read_text().startswith("<!doctype html>")
    assert json.loads((tmp_path / "c.json").read_text())["n_neurons"]["a"] == 0


def test_a_study_is_summed_up_and_goes_on_where_it_stopped(run, tmp_path) -> None:
    Path("small.yaml").write_text(STUDY)
    first = run("analyze", "--config", "small.yaml", "--json")
    assert first.exit_code == 0, first.output
    summary = json.loads(first.stdout)
    assert (summary["prompts"], summary["counted"]) == (2, 1)
    folder = tmp_path / "analyses/small"
    done = {path.name: path.stat().st_mtime_ns for path in folder.glob("*-analysis.json")}
    gone = sorted(done)[1]
    (folder / gone).unlink()
    second = run("analyze", "--config", "small.yaml", "--json")
    assert json.loads(second.stdout) == summary
    kept = sorted(done)[0]
    assert (folder / kept).stat().st_mtime_ns == done[kept]
    assert (folder / gone).exists()
    assert "<script" not in (folder / "index.html").read_text()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "give one of"),
        ((PROMPT, "--config", "x.yaml"), "give one of"),
        ((PROMPT, "--target-tokens", "a", "--contrastive", "a", "b"), "two different goals"),
        (("--config", "nowhere"), "agreement, two-hop-geography"),
        (("--config", "agreement", "--tau", "0.1"), "leave those options out"),
        (("--graph", "nowhere.json"), "nowhere.json"),
        ((PROMPT, "--concept", "place", "Timbuktu"), "Timbuktu"),
        ((PROMPT, "--llm"), "OPENAI_API_KEY"),
    ],
)
def test_mistakes_are_told_with_the_way_out(run, monkeypatch, words, why) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    told = run("analyze", *words)
    assert told.exit_code == 2
    assert why in told.output
