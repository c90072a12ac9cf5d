"""Every level of the validator is seen to fail, and hostile bytes are bounded before they are parsed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from neuron_atlas.core.attribution.exchange.older_viewer import to_legacy
from neuron_atlas.core.attribution.exchange.reading import parsing
from neuron_atlas.core.attribution.exchange.reading.checks import Level, check_graph_json
from neuron_atlas.core.records import AttributionGraph

MINIMAL = {
    "metadata": {"slug": "s", "scan": "m", "prompt_tokens": ["a", "b", "c"], "prompt": "abc", "node_threshold": 0.8},
    "qParams": {"pinnedIds": [], "supernodes": [], "linkType": "both", "clickedId": "", "sg_pos": ""},
    "nodes": [
        {"node_id": "3_77_1", "feature": 3317, "layer": "3", "ctx_idx": 1, "feature_type": "cross layer transcoder",
         "jsNodeId": "3_77-0", "clerp": "", "activation": -2.5, "influence": 0.1, "polarity": "neg"},
        *({"node_id": f"E_{7 + at}_{at}", "feature": at, "layer": "E", "ctx_idx": at, "feature_type": "embedding",
           "jsNodeId": f"E_{7 + at}-{at}", "clerp": ""} for at in range(3)),
        {"node_id": "33_42_2", "feature": 42, "layer": "33", "ctx_idx": 2, "feature_type": "logit", "jsNodeId": "L_42-2",
         "clerp": 'Output "x" (p=0.41)', "token_prob": 0.41},
    ],
    "links": [{"source": "E_8_1", "target": "3_77_1", "weight": 0.3}, {"source": "3_77_1", "target": "33_42_2", "weight": -1.25}],
}  # fmt: skip


def faults(document: object) -> list[tuple[Level, str]]:
    return [(fault.level, fault.message) for fault in check_graph_json(json.dumps(document).encode()).faults]


def test_a_small_good_document_has_no_faults() -> None:
    checked = check_graph_json(json.dumps(MINIMAL).encode())
    assert checked.faults == ()
    assert (checked.form, checked.slug, checked.scan, checked.nodes, checked.links) == (
        "neuronpedia",
        "s",
        "m",
        5,
        2,
    )
    assert checked.passes("lossless")


def _changed(change: Callable[[Any], None]) -> Any:
    document = json.loads(json.dumps(MINIMAL))
    change(document)
    return document


def _set(*path: str | int, value: object) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = value

    return change


def _drop(*path: str | int) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        for key in path[:-1]:
            document = document[key]
        del document[path[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (_drop("metadata"), "metadata"),
        (_drop("qParams"), "qParams"),
        (_drop("nodes"), "nodes"),
        (_set("links", value={}), "links"),
        (_set("metadata", "prompt_tokens", value=["a", 1]), "metadata.prompt_tokens.1"),
        (_drop("metadata", "scan"), "metadata.scan"),
        (_set("links", 1, "weight", value="-1.25"), "links.1.weight"),
        (_set("links", 1, "weight", value=True), "links.1.weight"),
        (_drop("nodes", 0, "clerp"), "nodes.0.clerp"),
        (_set("nodes", 0, "feature", value=1.5), "nodes.0.feature"),
        (_set("nodes", 0, "layer", value=None), "nodes.0.layer"),
        (_set("nodes", 2, value="node"), "nodes.2"),
    ],
)
def test_schema_faults_name_their_place(change: Callable[[Any], None], path: str) -> None:
    found = faults(_changed(change))
    assert found
    assert found[0][0] == "schema"
    assert found[0][1].startswith(f"{path}")


def test_all_schema_faults_are_named_up_to_a_limit() -> None:
    document = _changed(lambda d: d.update(links=[{"source": 1, "target": "x"}] * 100))
    assert len(faults(document)) == 20


@pytest.mark.parametrize("value", [3317.0, None])
def test_what_the_schema_allows_is_allowed(value: object) -> None:
    assert not faults(_changed(_set("nodes", 0, "feature", value=value)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_set("metadata", "slug", value="a b/c"), "the upload takes letters"),
        (lambda d: d["nodes"].insert(0, d["nodes"][0]), "stand twice"),
        (_set("links", 0, "source", value="9_9_9"), "links to a node that does not exist"),
        (_set("nodes", 0, "ctx_idx", value=3), "outside the 3 prompt_tokens"),
        (_set("nodes", 4, "clerp", value="Output x"), "without a probability"),
        (_set("nodes", 4, "clerp", value=""), "without a probability"),
        (_set("nodes", 0, "layer", value="0"), "no node below the logits has a numeric layer"),
        (lambda d: d["nodes"].reverse(), "the logits are not the last nodes"),
        (_set("nodes", 0, "feature_type", value="mlp_neuron"), "types unknown to the viewer"),
        (lambda d: d["links"].append({"source": "33_42_2", "target": "E_8_1", "weight": 1.0}), "to a lower layer"),
        (lambda d: d["links"].append({"source": "33_42_2", "target": "E_8_1", "weight": 1.0}), "a cycle of links"),
        (lambda d: d["nodes"].pop(), "there is no logit node"),
    ],
)
def test_what_the_viewer_needs_without_saying_so(change: Callable[[Any], None], words: str) -> None:
    found = faults(_changed(change))
    assert any(level == "viewer" and words in message for level, message in found), found
    assert not any(level == "schema" for level, _ in found)


def test_what_cannot_be_kept_is_named_at_the_last_level() -> None:
    found = faults(_changed(_set("nodes", 0, "feature_type", value="lorsa")))
    assert found == [("lossless", "1 nodes of type 'lorsa' are not kept; what they pass on counts as error")]


def test_levels_build_on_each_other(cat: AttributionGraph) -> None:
    checked = check_graph_json(json.dumps(to_legacy(cat)).encode())
    assert checked.passes("schema")
    assert not checked.passes("viewer")  # the older form's types are unknown to the present viewer
    assert not checked.passes("lossless")
    assert {fault.level for fault in checked.faults} == {"viewer"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"a": NaN}', "not JSON"),
        (b'{"a": -Infinity}', "not JSON"),
        (b"[" * 300 + b"]" * 300, "recursion limit"),
        (b"[" + b"1" * 5000 + b"]", "not JSON"),
        (b"[{}]", "the document: expected an object, got an array"),
        (b'{"metadata": {}, "qParams": {}, "links": []}', "metadata.slug: missing"),
    ],
)
def test_bytes_that_are_no_document(data: bytes, words: str) -> None:
    (fault, *_) = check_graph_json(data).faults
    assert fault.level == "schema"
    assert words in fault.message
    assert "\n" not in fault.message


@pytest.mark.parametrize(
    "data", [b"[" * 100_000, b'{"nodes":[' + b"{}," * 100_000 + b"{}]}", b"[" + b"0," * 200_000 + b"0]"]
)
def test_bombs_are_refused_before_they_are_parsed(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "MAX_OBJECTS", 50_000)
    monkeypatch.setattr(parsing, "MAX_COMMAS", 50_000)
    monkeypatch.setattr(parsing, "from_json", None)  # calling it would be a TypeError
    assert "brackets and" in check_graph_json(data).faults[0].message
    monkeypatch.setattr(parsing, "MAX_BYTES", 10)
    assert "at most 10 are read" in check_graph_json(data).faults[0].message


def test_more_nodes_or_links_than_allowed_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "MAX_NODES", 4)
    assert "5 nodes and 2 links; at most 4" in faults(MINIMAL)[0][1]
