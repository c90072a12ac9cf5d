"""Graphs that others wrote: what is read, what is computed from links, and what is refused with which words."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from neuron_atlas.core.attribution.exchange.neuronpedia import to_neuronpedia
from neuron_atlas.core.attribution.exchange.reading.parsing import parse_document
from neuron_atlas.core.attribution.exchange.reading.read_document import read_document
from neuron_atlas.core.records import Arrangement, AttributionGraph
from neuron_atlas.errors import BadInput

FORMAT_KEYS = {"node_id", "feature", "layer", "ctx_idx", "feature_type", "jsNodeId", "clerp", "activation"}


def read(document: dict[str, Any], **options: int) -> AttributionGraph:
    return read_document(parse_document(json.dumps(document).encode()), **options)


def circuit_tracer_form(graph: AttributionGraph) -> dict[str, Any]:
    """The graph as somebody else's tool would write it: no key of ours, and no value of the logit."""
    document: dict[str, Any] = to_neuronpedia(graph, slug="cat", scan="tiny")
    del document["metadata"]["neuron_atlas"]
    document["nodes"] = [{k: v for k, v in node.items() if k in FORMAT_KEYS} for node in document["nodes"]]
    for node in document["nodes"]:
        if node["feature_type"] == "logit":
            node["activation"] = None
    return document


def raw_legacy_form() -> dict[str, Any]:
    """The same graph as the older tools write it before formatting it for the viewer."""

    def node(node_id: str, layer: object, kind: str, at: int, clerp: str, **values: float | None) -> dict[str, Any]:
        empty = {"influence": None, "activation": None}
        return {"node_id": node_id, "feature": 0, "layer": layer, "ctx_idx": at, "feature_type": kind, "jsNodeId": "x",
                "clerp": clerp, **empty, **values}  # fmt: skip

    return {
        "metadata": {"slug": "cat", "scan": "llama", "prompt_tokens": ["<bos>", " the", " cat"], "prompt": "the cat"},
        "qParams": {},
        "nodes": [
            node("E_1_0", "embedding", "embedding", 0, "Token: <bos>", activation=1.0),
            node("E_5_1", "embedding", "embedding", 1, "Token:  the", activation=1.0),
            node("E_9_2", "embedding", "embedding", 2, "Token:  cat", activation=1.0),
            node("0_3_1", 0, "mlp_neuron", 1, "L0/N3", influence=2.0, activation=2.0),
            node("1_7_2", "1", "mlp_neuron", 2, "L1/N7: sitting", influence=3.0, activation=-1.5),
            node("L_42_2", "logit", "logit", 2, "Logit:  sat (p=0.7500)"),
        ],
        "links": [
            {"source": "E_5_1", "target": "0_3_1", "weight": 1.5},
            {"source": "E_9_2", "target": "1_7_2", "weight": -0.25},
            {"source": "0_3_1", "target": "1_7_2", "weight": -1.0},
            {"source": "E_9_2", "target": "L_42_2", "weight": 0.5},
            {"source": "1_7_2", "target": "L_42_2", "weight": 3.0},
        ],
        "nodes_exceeded": True,
    }


def test_pins_and_groups_of_other_tools_are_kept_for_nodes_that_are(cat: AttributionGraph) -> None:
    """`E_9_2` is the third node, `1_7_2` the fifth; groups of another form, or without a node that is kept, are left out."""
    document = raw_legacy_form()
    document["qParams"] = {
        "pinnedIds": ["1_7_2", "9_9_9"],
        "supernodes": [["sitting", "E_9_2", "1_7_2"], ["gone", "9_9_9"], ["odd", 3], "text", []],
    }
    assert read(document).arrangement == Arrangement(pinned=(4,), groups=(("sitting", (2, 4)),))


def test_what_others_do_not_state_is_what_their_links_imply(cat: AttributionGraph) -> None:
    """All columns come out as worked by hand, but for the bias: 0.25 of L0/N3 that no link carries."""
    graph = read(circuit_tracer_form(cat))
    assert graph.edges.equals(cat.edges)
    for column in (
        "node",
        "kind",
        "layer",
        "position",
        "neuron",
        "token_id",
        "activation",
        "relevance",
        "direct",
        "error",
    ):
        assert graph.nodes[column].to_list() == pytest.approx(cat.nodes[column].to_list()), column
    assert graph.logits["token"].to_list() == [" sat"]
    assert graph.logits["logit"].to_list() == [4.0]
    assert graph.logits["probability"].to_list() == [0.75]
    assert graph.summary.goal_value == 4.0
    assert math.isnan(graph.summary.conservation_error)
    assert "computed from its links" in graph.summary.note


def test_influence_and_scores_are_computed_as_for_our_own_graphs(cat: AttributionGraph) -> None:
    document: dict[str, Any] = to_neuronpedia(cat)
    del document["metadata"]["neuron_atlas"]
    for node in document["nodes"]:
        node["influence"] = None  # `bias` and the rest stay: extra keys are read wherever they stand
    graph = read(document)
    assert graph.nodes["influence"].to_list() == pytest.approx(cat.nodes["influence"].to_list())
    assert graph.summary.completeness == pytest.approx(31 / 36)
    assert graph.summary.replacement == pytest.approx(2 / 3)


def test_the_older_form_in_its_raw_variant(cat: AttributionGraph) -> None:
    graph = read(raw_legacy_form())
    assert graph.edges.equals(cat.edges)
    assert graph.nodes["relevance"].to_list() == [
        0.0,
        1.5,
        1.0,
        2.0,
        3.0,
        3.5,
    ]  # the logit's value: what its links bring
    assert graph.nodes["layer"].to_list() == [-1, -1, -1, 0, 1, 2]
    assert graph.logits.select("token", "probability").row(0) == (" sat", 0.75)
    assert graph.summary.is_trimmed


def test_the_number_of_layers_can_be_told_where_the_file_does_not_say() -> None:
    assert read(raw_legacy_form(), n_layers=32).nodes["layer"].to_list()[-1] == 32
    with pytest.raises(BadInput, match="neurons up to layer 1, but the model is said to have 1 layers"):
        read(raw_legacy_form(), n_layers=1)


def test_nodes_of_unknown_types_count_as_error_and_the_note_says_how_many(cat: AttributionGraph) -> None:
    document = circuit_tracer_form(cat)
    document["nodes"][0]["feature_type"] = "lorsa"  # L0/N3: passes -1.0 on to L1/N7, receives two links
    graph = read(document)
    assert graph.nodes["neuron"].drop_nulls().to_list() == [7]
    assert graph.nodes.filter(neuron=7)["error"].to_list() == [-1.25]
    assert "1 nodes of type 'lorsa' are counted as error" in graph.summary.note
    assert "2 links into nodes that are not kept" in graph.summary.note


def test_transcoder_features_are_not_passed_off_as_neurons(cat: AttributionGraph) -> None:
    document = circuit_tracer_form(cat)
    document["metadata"]["feature_details"] = {"neuronpedia_source_set": "gemmascope-transcoder-16k"}
    assert "features of gemmascope-transcoder-16k, not MLP neurons" in read(document).summary.note


def test_paired_features_are_read_where_the_id_does_not_say(cat: AttributionGraph) -> None:
    document = circuit_tracer_form(cat)
    document["metadata"]["schema_version"] = 1
    document["nodes"][1]["node_id"] = "somewhere else"
    for link in document["links"]:
        link.update({end: "somewhere else" for end in ("source", "target") if link[end] == "1_7_2"})
    assert read(document).nodes["neuron"].drop_nulls().to_list() == [3, 7]


def _double(document: dict[str, Any]) -> None:
    document["nodes"].append(document["nodes"][0])


def _dangle(document: dict[str, Any]) -> None:
    document["links"][0]["source"] = "7_7_7"


def _turn_around(document: dict[str, Any]) -> None:
    link = document["links"][2]
    link["source"], link["target"] = link["target"], link["source"]


def _repeat_link(document: dict[str, Any]) -> None:
    document["links"].append(dict(document["links"][0], weight=9.0))


def _move_out(document: dict[str, Any]) -> None:
    document["nodes"][0]["ctx_idx"] = 3


def _lose_embedding(document: dict[str, Any]) -> None:
    document["nodes"] = [n for n in document["nodes"] if n["node_id"] != "E_1_0"]


def _lose_logit(document: dict[str, Any]) -> None:
    document["nodes"].pop()
    document["links"] = [link for link in document["links"] if link["target"] != "3_42_2"]


def _high_layer(document: dict[str, Any]) -> None:
    document["nodes"][1].update(layer="99999999", node_id="1_7_2")


def _into_embedding(document: dict[str, Any]) -> None:
    document["links"].append({"source": "0_3_1", "target": "E_9_2", "weight": 1.0})


def _huge_weight(document: dict[str, Any]) -> None:
    document["links"][0]["weight"] = 1e200


def _huge_activation(document: dict[str, Any]) -> None:
    document["nodes"][0]["activation"] = 1e200


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_double, "two nodes have the id '0_3_1'"),
        (_dangle, "names the node '7_7_7', which does not exist"),
        (_turn_around, "from '1_7_2' to '0_3_1'; expected upwards"),
        (_repeat_link, "two links go from 'E_5_1' to '0_3_1'; expected one"),
        (_move_out, "at position 3, outside the 3 prompt_tokens"),
        (_lose_embedding, "no embedding node at position 0"),
        (_lose_logit, "0 logits at 0 positions; expected all at one"),
        (_high_layer, "its layer is 99999999; expected 0 to 10,000"),
        (_into_embedding, "out of a logit or into an embedding"),
        (_huge_weight, "a link's weight is beyond 32-bit range"),
        (_huge_activation, "beyond 32-bit range"),
    ],
)
def test_a_broken_reference_refuses_the_graph_in_one_line(
    cat: AttributionGraph, spoil: Callable[[dict[str, Any]], None], words: str
) -> None:
    document = circuit_tracer_form(cat)
    spoil(document)
    with pytest.raises(BadInput) as caught:
        read(document)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_block_of_ours_that_is_newer_or_damaged_is_refused(cat: AttributionGraph) -> None:
    document: Any = to_neuronpedia(cat)
    document["metadata"]["neuron_atlas"]["format"] = 2
    with pytest.raises(BadInput, match="newer neuron_atlas"):
        read(document)
    document["metadata"]["neuron_atlas"].update(format=1, n_layers="two")
    with pytest.raises(BadInput, match=r"metadata\.neuron_atlas\.n_layers"):
        read(document)
    document["metadata"]["neuron_atlas"].update(n_layers=2)
    document["metadata"]["neuron_atlas"]["summary"]["position"] = 7
    with pytest.raises(BadInput, match="position 7, but 3 prompt_tokens"):
        read(document)
