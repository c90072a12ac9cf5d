"""`neuron-atlas graph`: every documented form reaches the tracer, and what comes back is shown and saved."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from neuron_atlas import demo
from neuron_atlas.adapters.graphs.graph_files import read_graph
from neuron_atlas.cli import main
from neuron_atlas.cli.attribution import graph as graph_module
from neuron_atlas.cli.attribution import graph_labels
from neuron_atlas.cli.attribution.graph_labels import InstanceLabels, labels_by_neuron
from neuron_atlas.core.attribution.exchange.reading.parsing import document_of
from neuron_atlas.core.attribution.exchange.reading.read_document import read_document
from neuron_atlas.core.records import AttributionGraph, NeuronId, Prompt, TraceOptions

Asked = tuple[Prompt, TraceOptions, str, dict[str, str | None]]


def small_graph() -> AttributionGraph:
    def node(node_id: str, layer: str, kind: str, clerp: str = "", **extra: object) -> dict[str, Any]:
        return {"node_id": node_id, "feature": 0, "layer": layer, "ctx_idx": 0, "feature_type": kind, "jsNodeId": "x",
                "clerp": clerp, **extra}  # fmt: skip

    document = {
        "metadata": {"slug": "cat", "scan": "tiny", "prompt_tokens": [" cat"], "prompt": "cat"},
        "qParams": {},
        "nodes": [
            node("1_7_0", "1", "cross layer transcoder", activation=-2.0),
            node("E_9_0", "E", "embedding"),
            node("3_42_0", "3", "logit", 'Output " sat" (p=0.750)'),
        ],
        "links": [{"source": "E_9_0", "target": "1_7_0", "weight": -2.0}, {"source": "1_7_0", "target": "3_42_0", "weight": 4.0}],
    }  # fmt: skip
    return read_document(document_of(document))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEURON_ATLAS_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """A tracer that writes down what it was asked and answers with the small graph."""
    calls: list[Asked] = []

    def traced(
        prompt: Prompt, options: TraceOptions, model_id: str, *, effects: str, **where: str | None
    ) -> tuple[AttributionGraph, AttributionGraph]:
        calls.append((prompt, options, model_id, where))
        found = replace(small_graph(), prompt=prompt)
        return found, found if effects == "direct" else replace(found, edges=found.edges.head(1))

    monkeypatch.setattr(graph_module, "_traced", traced)
    return calls


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["graph", *arguments])


@pytest.mark.parametrize(
    ("arguments", "prompt", "options"),
    [
        ([], {}, {}),
        (["--target-tokens", "COX", "cyclooxygenase"], {"target_tokens": ("COX", "cyclooxygenase")}, {}),
        (["--contrastive", " are", " is"], {"contrast": (" are", " is")}, {}),
        (["--raw", "--k", "3", "--tau", "0.01"], {"raw": True}, {"k": 3, "tau": 0.01}),
        (["--top-n", "50"], {}, {"top_n": 50}),
        (["--mass", "0.5"], {}, {"mass": 0.5}),
        (["--position", "-2", "--answer-prefix", "It is"], {"position": -2, "answer_prefix": "It is"}, {}),
        (["--rules", "gate-frozen"], {}, {"rules": "gate-frozen"}),
        (["--exclude", "L1/N2", "L0/N3", "--k", "2"], {}, {"exclude": ("L1/N2", "L0/N3"), "k": 2}),
    ],
)
def test_every_form_reaches_the_tracer(
    home: Path, asked: list[Asked], arguments: list[str], prompt: dict[str, Any], options: dict[str, Any]
) -> None:
    result = run("the cat", *arguments)
    assert result.exit_code == 0, result.output
    ((got, settings, model, where),) = asked
    assert asdict(got) == asdict(Prompt("the cat", **prompt))
    assert settings == TraceOptions(**options)
    assert (model, where) == (str(demo.MODEL_DIR), {"device": None, "dtype": None})
    assert read_graph(home / "graphs" / f"{_only(home / 'graphs').stem}.json").prompt == got


def _only(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_model_device_and_dtype_are_passed_on(home: Path, asked: list[Asked]) -> None:
    assert run("the cat", "--model", "some/model", "--device", "cpu", "--dtype", "bfloat16").exit_code == 0
    assert asked[0][2:] == ("some/model", {"device": "cpu", "dtype": "bfloat16"})


@pytest.mark.parametrize(
    ("arguments", "files"),
    [
        ([], ["graphs/relp-the-cat.json"]),
        (["--slug", "aspirin-cox"], ["graphs/relp-aspirin-cox.json"]),
        (
            ["--slug", "relp-mine", "-o", "other/place", "--html"],
            ["other/place/relp-mine.html", "other/place/relp-mine.json"],
        ),
    ],
)
def test_where_the_graph_is_saved(home: Path, asked: list[Asked], arguments: list[str], files: list[str]) -> None:
    assert run("the cat", *arguments).exit_code == 0
    assert sorted(str(p.relative_to(home)) for p in home.rglob("relp-*")) == files


def test_people_read_tables_and_machines_json(home: Path, asked: list[Asked]) -> None:
    shown = run("the cat").output
    for words in ("the cat", " sat", "L1/N7", 'answer " sat"', "completeness", "graphs/relp-the-cat.json"):
        assert words in shown
    printed = json.loads(CliRunner().invoke(main, ["graph", "the cat", "--json", "--top", "1"]).stdout)
    assert printed["files"] == ["graphs/relp-the-cat.json"]
    assert printed["answers"] == [
        {"token_id": 42, "token": " sat", "logit": 4.0, "probability": 0.75, "goal_weight": 1.0}
    ]
    assert (printed["neurons"][0]["neuron_id"], printed["neurons"][0]["share"]) == ("L1/N7", 1.0)
    assert (len(printed["links"]), printed["n_links"], printed["scores"]["conservation_error"]) == (1, 2, None)


def test_total_effects_are_printed_and_the_file_keeps_the_direct_ones(home: Path, asked: list[Asked]) -> None:
    assert "Strongest total effects, 1 of 1" in run("the cat", "--effects", "total").output
    printed = json.loads(CliRunner().invoke(main, ["graph", "the cat", "--effects", "total", "--json"]).stdout)
    assert (printed["effects"], len(printed["links"])) == ("total", 1)
    assert read_graph(home / "graphs" / "relp-the-cat.json").edges.height == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["p", "--skip-always-on", "0.9"], "there is no atlas at"),
        ([], "PROMPT is missing"),
        (["--target-tokens", "A", "B"], "PROMPT is missing"),
        (["p", "--target-tokens", "A", "--contrastive", "B", "C"], "two different goals"),
        (["p", "--slug", "../up"], "is not a slug"),
        (["p", "--tau", "2"], "--tau"),
        (["p", "--target-tokens"], "--target-tokens"),
    ],
)
def test_a_mistake_is_one_clear_error_before_anything_is_loaded(
    home: Path, asked: list[Asked], arguments: list[str], words: str
) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert words in result.output
    assert asked == []
    assert list(home.iterdir()) == []


def test_labels_come_from_an_atlas_of_the_same_model_or_not_at_all(home: Path) -> None:
    graph = small_graph()
    assert labels_by_neuron(home / "none.duckdb", graph)[1].startswith("no labels: there is no atlas at")
    (home / "broken.duckdb").write_text("no database")
    labels, why = labels_by_neuron(home / "broken.duckdb", graph)
    assert labels == {}
    assert why.startswith("no labels:")


def test_an_output_label_goes_before_an_input_label(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    neuron = NeuronId(1, 7)
    found = InstanceLabels({(neuron, 1): "does"}, {(neuron, 1): "fires on", (neuron, -1): "fires on"})
    monkeypatch.setattr(graph_labels, "labels_by_side", lambda path, graph: (found, ""))
    labels, why = labels_by_neuron(tmp_path / "atlas.duckdb", None)
    assert (labels, why) == ({(neuron, 1): "does", (neuron, -1): "fires on"}, "")


@pytest.mark.skipif(not (demo.MODEL_DIR / "model.safetensors").exists(), reason="the demo model is not built")
def test_the_example_of_the_help_runs_on_the_demo_model(home: Path, check: Callable[[str], None]) -> None:
    result = run("the capital of the state containing Bend is", "--html")
    assert result.exit_code == 0, result.output
    assert " Salem" in result.output
    check("graphs/relp-the-capital-of-the-state-containing-bend-is.json")


@pytest.fixture
def check() -> Callable[[str], None]:
    def checked(path: str) -> None:
        result = CliRunner().invoke(main, ["validate", "--level", "lossless", path])
        assert (result.exit_code, result.output.split()[:2]) == (0, ["ok", path])

    return checked
