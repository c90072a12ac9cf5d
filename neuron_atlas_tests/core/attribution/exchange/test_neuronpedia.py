"""The document of the graph worked by hand, field by field where a field is a promise."""

from __future__ import annotations

from typing import Any

import pytest

from neuron_atlas.core.attribution.exchange.neuronpedia import quoted, to_neuronpedia
from neuron_atlas.core.attribution.exchange.node_ids import pair
from neuron_atlas.core.records import AttributionGraph, NeuronId
from neuron_atlas.errors import BadInput


@pytest.fixture
def document(cat: AttributionGraph) -> dict[str, Any]:
    return to_neuronpedia(cat)


def test_nodes_come_as_neurons_errors_embeddings_logits_with_the_ids_that_others_read(document: dict[str, Any]) -> None:
    assert [(n["node_id"], n["layer"], n["feature_type"]) for n in document["nodes"]] == [
        ("0_3_1", "0", "cross layer transcoder"),
        ("1_7_2", "1", "cross layer transcoder"),
        ("0_-1_1", "0", "mlp reconstruction error"),
        ("0_-1_2", "0", "mlp reconstruction error"),
        ("1_-1_2", "1", "mlp reconstruction error"),
        ("E_1_0", "E", "embedding"),
        ("E_5_1", "E", "embedding"),
        ("E_9_2", "E", "embedding"),
        ("3_42_2", "3", "logit"),
    ]


def test_links_are_the_edges_and_every_remainder(document: dict[str, Any]) -> None:
    assert [(link["source"], link["target"], link["weight"]) for link in document["links"]] == [
        ("E_5_1", "0_3_1", 1.5),
        ("E_9_2", "1_7_2", -0.25),
        ("0_3_1", "1_7_2", -1.0),
        ("E_9_2", "3_42_2", 0.5),
        ("1_7_2", "3_42_2", 3.0),
        ("0_-1_1", "0_3_1", 0.25),
        ("0_-1_2", "1_7_2", -0.25),
        ("1_-1_2", "3_42_2", 0.5),
    ]


def test_a_neuron_says_what_it_is_beside_the_format(document: dict[str, Any]) -> None:
    assert document["nodes"][1] == {
        "node_id": "1_7_2",
        "feature": 43,  # (1 + 7)(1 + 7 + 1) / 2 + 7
        "layer": "1",
        "ctx_idx": 2,
        "feature_type": "cross layer transcoder",
        "jsNodeId": "1_7-0",
        "clerp": "L1/N7",
        "influence": 0.4,
        "activation": -1.5,
        "node_kind": "mlp_neuron",
        "polarity": -1,
        "relevance": 3.0,
        "direct": 3.0,
        "bias": 0.0,
        "error": -0.25,
    }


def test_a_logit_names_its_probability_and_token_as_the_viewer_parses_them(document: dict[str, Any]) -> None:
    logit = document["nodes"][-1]
    assert logit["clerp"] == 'Output " sat" (p=0.750)'
    assert (logit["token_prob"], logit["token"], logit["feature"], logit["is_target_logit"]) == (0.75, " sat", 42, True)


def test_metadata_names_graph_and_model_and_never_asks_for_features_of_others(document: dict[str, Any]) -> None:
    metadata = document["metadata"]
    assert (metadata["scan"], metadata["prompt"]) == ("Tiny-Model", "the cat")
    assert metadata["slug"].startswith("relp-the-cat-")  # targets were given, so the words alone do not say all
    assert metadata["prompt_tokens"] == ["<bos>", " the", " cat"]
    assert "schema_version" not in metadata
    assert set(document["qParams"]) == {"pinnedIds", "supernodes", "linkType", "clickedId", "sg_pos"}


def test_labels_become_texts_for_their_polarity_only(cat: AttributionGraph) -> None:
    labels = {(NeuronId(1, 7), -1): "verbs of sitting", (NeuronId(0, 3), -1): "of the other sign"}
    nodes: Any = to_neuronpedia(cat, labels=labels)["nodes"]
    assert [n["clerp"] for n in nodes[:2]] == ["L0/N3", "L1/N7: verbs of sitting"]


def test_the_same_graph_gives_the_same_document(cat: AttributionGraph) -> None:
    assert to_neuronpedia(cat) == to_neuronpedia(cat)


@pytest.mark.parametrize("slug", ["", "../up", "a/b", ".hidden", "a b", "x" * 129, "..", "a\n"])
def test_a_slug_that_could_leave_its_folder_is_refused(cat: AttributionGraph, slug: str) -> None:
    with pytest.raises(BadInput, match="is not a slug"):
        to_neuronpedia(cat, slug=slug)


@pytest.mark.parametrize(("layer", "neuron", "code"), [(3, 77, 3317), (1, 57794, 1670217704), (0, 0, 0)])
def test_cantor_pairs_known_from_public_graphs(layer: int, neuron: int, code: int) -> None:
    assert pair(layer, neuron) == code


def test_quotes_and_control_characters_cannot_cut_a_token_short() -> None:
    assert quoted(' say "hi"\n') == '" say ”hi”\\n"'
