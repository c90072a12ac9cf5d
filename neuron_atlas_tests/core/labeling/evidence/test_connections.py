"""Signs of edges, turned towards the polarities: every case by hand.

Neuron 0 of layer 0 usually fires negative (activation -2), neuron 1 of layer 1 usually negative (-4). The measured edge is
v_s * dv_t/dv_s = -1: when the source fires its usual way, the target's value falls by 1, so it fires more its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl
import pytest

from neuron_atlas.core.labeling.evidence.connections import input_connections, output_connections

MakeTable = Callable[[str, Sequence[dict[str, object]]], pl.DataFrame]
EDGE = {"source_kind": "neuron", "source_layer": 0, "source": 0, "target_kind": "neuron", "target_layer": 1, "target": 1,
        "n": 3, "n_prompts": 2, "weight_mean": -1.0, "sign_agreement": 1.0, "flow_abs_mean": 0.5}  # fmt: skip
PROFILES = [
    {"layer": 0, "neuron": 0, "polarity": -1, "n": 6, "n_prompts": 4, "activation_mean": -2.0},
    {"layer": 1, "neuron": 1, "polarity": -1, "n": 3, "n_prompts": 3, "activation_mean": -4.0},
]


@pytest.fixture
def graphs(make_table: MakeTable) -> Callable[..., dict[str, pl.LazyFrame]]:
    def make(*edges: dict[str, object], profiles: Sequence[dict[str, object]] = PROFILES) -> dict[str, pl.LazyFrame]:
        return {
            "edge_stats": make_table("edge_stats", edges).lazy(),
            "neuron_profiles": make_table("neuron_profiles", profiles).lazy(),
        }

    return make


def test_downstream_is_turned_towards_both_ends(graphs: Callable[..., dict[str, pl.LazyFrame]]) -> None:
    (connection,) = output_connections(graphs(EDGE), 0).neurons[0]
    # firing -1 drives L1/N1-: turned weight -1 * -1 (target) = +1, so for +1 it is -1; over |v_t| = 4
    assert (connection.name, connection.weight, connection.frequency, connection.flow) == ("L1/N1-", -0.25, 0.5, 0.5)


def test_upstream_is_turned_towards_the_labeled_end_only(graphs: Callable[..., dict[str, pl.LazyFrame]]) -> None:
    (connection,) = input_connections(graphs(EDGE), 1).neurons[1]
    # when L0/N0 fires its usual way, L1/N1 falls by 1: it inhibits polarity +1 and excites -1
    assert (connection.name, connection.weight) == ("L0/N0-", -0.25)
    assert connection.frequency == pytest.approx(2 / 3)


def test_logits_and_embeddings_carry_their_token(graphs: Callable[..., dict[str, pl.LazyFrame]]) -> None:
    logit = {**EDGE, "target_kind": "logit", "target_layer": 2, "target": 77}
    (connection,) = output_connections(graphs(logit), 0).tokens[0]
    # measured while firing -1: -1 logit in 2 of 4 prompts; firing +1 would raise it by 0.5 a prompt
    assert (connection.token_id, connection.weight) == (77, 0.5)
    embedding = {**EDGE, "source_kind": "embedding", "source_layer": -1, "source": 88}
    (connection,) = input_connections(graphs(embedding), 1).tokens[1]
    assert (connection.token_id, connection.weight) == (88, -0.25)


def test_an_edge_seen_with_both_signs_says_nothing(graphs: Callable[..., dict[str, pl.LazyFrame]]) -> None:
    assert output_connections(graphs({**EDGE, "sign_agreement": 0.6}), 0).neurons == {}


def test_the_usual_polarity_is_the_one_with_more_instances(graphs: Callable[..., dict[str, pl.LazyFrame]]) -> None:
    both = [*PROFILES, {"layer": 1, "neuron": 1, "polarity": 1, "n": 9, "n_prompts": 9, "activation_mean": 4.0}]
    (connection,) = output_connections(graphs(EDGE, profiles=both), 0).neurons[0]
    assert (connection.name, connection.weight) == ("L1/N1+", 0.25)


def test_most_relevance_first_and_at_most_ten(graphs: Callable[..., dict[str, pl.LazyFrame]]) -> None:
    targets = [{**PROFILES[1], "neuron": n} for n in range(12)]
    edges = [{**EDGE, "target": n, "flow_abs_mean": float(n)} for n in range(12)]
    connections = output_connections(graphs(*edges, profiles=[PROFILES[0], *targets]), 0).neurons[0]
    assert [connection.name for connection in connections] == [f"L1/N{n}-" for n in range(11, 1, -1)]


def test_without_graphs_there_are_no_wires() -> None:
    assert output_connections({}, 0).neurons == {}
    assert input_connections({}, 0).partners == {}
