"""Graph files: read back whole, many at once, and a file that is no graph does not stop the others."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from neuron_atlas.adapters.graphs import graph_files
from neuron_atlas.adapters.graphs.graph_files import (
    check_graph_file,
    list_graph_files,
    read_graph,
    read_graphs,
    write_graph,
)
from neuron_atlas.core.aggregation.graphs.graph_stats import sum_graphs
from neuron_atlas.core.attribution.exchange.reading.checks import same_graph
from neuron_atlas.core.attribution.exchange.reading.parsing import document_of
from neuron_atlas.core.attribution.exchange.reading.read_document import read_document
from neuron_atlas.core.attribution.graph.tables import graph_frames
from neuron_atlas.core.attribution.graph.traced_graph import TracedGraph
from neuron_atlas.core.records import AttributionGraph, Frames, Quarantined
from neuron_atlas.errors import BadInput, UserError


def document(prompt: str = "the cat", *, neuron: int = 7) -> dict[str, Any]:
    """A small graph in circuit-tracer's form: token -2-> L1/N7 -4-> answer, and 1 that is not kept."""

    def node(node_id: str, layer: str, kind: str, clerp: str = "", **extra: object) -> dict[str, Any]:
        return {"node_id": node_id, "feature": 0, "layer": layer, "ctx_idx": 0, "feature_type": kind, "jsNodeId": "x",
                "clerp": clerp, **extra}  # fmt: skip

    return {
        "metadata": {"slug": "cat", "scan": "tiny", "prompt_tokens": [" cat"], "prompt": prompt},
        "qParams": {},
        "nodes": [
            node(f"1_{neuron}_0", "1", "cross layer transcoder", activation=-2.0),
            node("1_-1_0", "1", "mlp reconstruction error"),
            node("E_9_0", "E", "embedding"),
            node("3_42_0", "3", "logit", 'Output " sat" (p=0.750)'),
        ],
        "links": [
            {"source": "E_9_0", "target": f"1_{neuron}_0", "weight": -2.0},
            {"source": f"1_{neuron}_0", "target": "3_42_0", "weight": 4.0},
            {"source": "1_-1_0", "target": "3_42_0", "weight": 1.0},
        ],
    }


@pytest.fixture
def graph() -> TracedGraph:
    return TracedGraph.of(read_document(document_of(document())))


@pytest.mark.parametrize("form", ["neuronpedia", "legacy"])
def test_a_written_graph_is_read_back(graph: TracedGraph, tmp_path: Path, form: Any) -> None:
    path = write_graph(graph, tmp_path / "new" / "cat.json", form=form)
    assert same_graph(read_graph(path), graph)
    assert json.loads(path.read_text())["metadata"]["slug"] == "cat"
    assert check_graph_file(path).passes("schema")
    assert [p.name for p in path.parent.iterdir()] == ["cat.json"]


def test_writing_again_gives_the_same_bytes_and_a_graph_saves_itself(graph: TracedGraph, tmp_path: Path) -> None:
    first, second = write_graph(graph, tmp_path / "cat.json"), graph.save(tmp_path / "other" / ".." / "cat.json")
    before = first.read_bytes()
    assert second.read_bytes() == before
    assert write_graph(graph, tmp_path / "cat.json").read_bytes() == before
    assert graph.save(tmp_path / "cat.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("name", ["cat.txt", "cat", "..json", "a b.json"])
def test_other_names_are_refused(graph: TracedGraph, tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match=r"expected"):
        write_graph(graph, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(graph: TracedGraph, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        write_graph(graph, tmp_path / "file" / "cat.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two good graphs among everything else that may lie in a folder."""
    good = tmp_path / "graphs"
    good.mkdir()
    (good / "a.json").write_text(json.dumps(document("the cat")))
    (good / "b.json").write_text(json.dumps(document("the dog", neuron=8)))
    (good / "c-same.json").write_text(json.dumps(document("the cat")))
    (good / "d-torn.json").write_text(json.dumps(document("torn"))[:-20])
    dangling = document("dangling")
    dangling["links"][0]["source"] = "E_1_0"
    (good / "e-dangling.json").write_text(json.dumps(dangling))
    (good / "f-nan.json").write_text(json.dumps(document("nan")).replace("4.0", "NaN"))
    (good / "g-deep.json").write_text("[" * 100_000)
    (tmp_path / "secret").write_text(json.dumps(document("secret")))
    (good / "h-link.json").symlink_to(tmp_path / "secret")
    os.mkfifo(good / "i-pipe.json")
    (good / "j-folder.json").mkdir()
    (good / graph_files.INDEX_NAME).write_text('{"graphs": []}')
    (good / "notes.txt").write_text("no graph")
    return good


def tables_of(items: list[AttributionGraph | Quarantined]) -> Frames:
    """The tables of asset `raw_graphs` of what was read."""
    return graph_frames(items, prompt_set="cats", kind="domain", code_version="1", model_revision="r1")


def test_a_folder_becomes_tables_and_what_is_no_graph_says_why(folder: Path) -> None:
    items = list(read_graphs(list_graph_files(folder)))
    graphs = tables_of(items)["graphs"]
    assert sorted(graphs.filter(pl.col("reason").is_null())["text"].to_list()) == ["the cat", "the dog"]
    reasons = {item.prompt.tags["file"]: item.reason for item in items if isinstance(item, Quarantined)}
    assert list(reasons) == [
        "c-same.json", "d-torn.json", "e-dangling.json", "f-nan.json", "g-deep.json", "h-link.json", "i-pipe.json", "j-folder.json",
    ]  # fmt: skip
    assert reasons["c-same.json"] == "the same prompt as a.json"
    assert reasons["e-dangling.json"] == "a link names the node 'E_1_0', which does not exist"
    assert reasons["h-link.json"] == "cannot be opened: is a symbolic link"
    assert reasons["i-pipe.json"] == reasons["j-folder.json"] == "is not a regular file"
    assert all(reason and "\n" not in reason for reason in reasons.values())
    assert set(graphs["model_revision"]) == {"r1"}
    assert graphs.height == 10


def test_imported_graphs_feed_the_same_statistics_as_our_own(folder: Path) -> None:
    frames = tables_of(list(read_graphs(list_graph_files(folder))))
    raw = {name: frame.lazy() for name, frame in frames.items()}
    sums = sum_graphs(raw, prompt_set="cats", kind="domain", special_ids=frozenset())
    assert sums["set_sums"].select("n_prompts", "n_quarantined").row(0) == (2, 8)
    assert sums["neuron_sums"].select("layer", "neuron", "polarity", "n").rows() == [(1, 7, -1, 1), (1, 8, -1, 1)]
    assert sums["edge_sums"].filter(target_kind="logit")["n_prompts"].to_list() == [1, 1]


def test_the_same_folder_gives_the_same_tables(folder: Path) -> None:
    one, other = (tables_of(list(read_graphs(list_graph_files(folder)))) for _ in range(2))
    assert all(one[name].equals(other[name]) for name in one)


def test_what_cannot_be_read_at_all_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"absent\.json: cannot be opened: No such file"):
        read_graph(tmp_path / "absent.json")
    with pytest.raises(BadInput, match="is not a folder"):
        list_graph_files(tmp_path / "absent")
    with pytest.raises(BadInput, match=r"holds no \.json file"):
        list_graph_files(tmp_path)


def test_a_file_too_large_is_refused_by_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "large.json").write_text(json.dumps(document()))
    monkeypatch.setattr(graph_files, "MAX_BYTES", 100)
    with pytest.raises(BadInput, match="at most 100 are read"):
        read_graph(tmp_path / "large.json")
