"""Attribution profiles: a graph worked by hand, laws, and planted roles that direct links do not show."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from neuron_atlas.core.circuits.clustering.attribution_profiles import attribution_profiles, profile_instances
from neuron_atlas.core.circuits.clustering.profile_clusters import cluster_profiles
from neuron_atlas.core.tables import PROFILE_AGREEMENT, PROFILE_CLUSTERS, PROFILE_MEMBERS
from neuron_atlas.errors import Incomplete

NODE = {"prompt_id": pl.String, "node": pl.Int32, "kind": pl.String, "layer": pl.Int16, "position": pl.Int32, "neuron": pl.Int32,
        "activation": pl.Float32, "relevance": pl.Float32}  # fmt: skip
EDGE = {"prompt_id": pl.String, "source": pl.Int32, "target": pl.Int32, "weight": pl.Float32}


def tables_of(prompts: dict[str, tuple[list[tuple], list[tuple], list[str]]], sets: dict[str, str] | None = None):
    """raw_graphs of prompts: (kind, layer, position, neuron, activation, relevance) and (source, target, weight) and logits."""
    nodes = [(name, i, *node) for name, (own, _, _) in prompts.items() for i, node in enumerate(own)]
    edges = [(name, *edge) for name, (_, own, _) in prompts.items() for edge in own]
    logits = {name: [i for i, node in enumerate(own) if node[0] == "logit"] for name, (own, _, _) in prompts.items()}
    targets = [
        (name, at, token)
        for name, (_, _, texts) in prompts.items()
        for at, token in zip(logits[name], texts, strict=True)
    ]
    return {
        "graphs": pl.LazyFrame(
            {
                "prompt_id": list(prompts),
                "reason": pl.Series([None] * len(prompts), dtype=pl.String),
                "token_ids": [[1, 2, 3]] * len(prompts),
                "tokens": [["<bos>", " a", " b"]] * len(prompts),
            }
        ),
        "nodes": pl.DataFrame(nodes, schema=NODE, orient="row").lazy(),
        "edges": pl.DataFrame(edges, schema=EDGE, orient="row").lazy(),
        "targets": pl.DataFrame(
            targets, schema={"prompt_id": pl.String, "node": pl.Int32, "token": pl.String}, orient="row"
        ).lazy(),
    }


BY_HAND = (
    [
        ("embedding", -1, 1, None, 1.0, 0.0),
        ("embedding", -1, 2, None, 1.0, 0.0),
        ("neuron", 0, 2, 4, 2.0, 0.0),
        ("neuron", 1, 2, 5, -4.0, 0.0),
        ("logit", 2, 2, None, 9.0, 9.0),
        ("logit", 2, 2, None, 3.0, 0.0),
    ],
    [(0, 2, 1.0), (1, 2, 0.5), (1, 3, -1.0), (2, 3, -2.0), (2, 4, 1.0), (3, 4, 3.0), (3, 5, -1.0)],
    [" x", " y"],
)
"""Token a -> L0/N4 (half of its value 2; b gives a quarter), b -> L1/N5 (a quarter of -4), L0/N4 -> L1/N5 (half of -4)."""


def test_a_graph_by_hand():
    graphs = tables_of({"p": BY_HAND})
    nodes, edges = (graphs[name].collect() for name in ("nodes", "edges"))
    inputs, outputs = profile_instances(nodes, edges, n_tokens=3)
    # L0/N4 gets a half from a, a quarter from b. L1/N5 gets a quarter from b, and half of what L0/N4 gets: a 1/4, b 1/8.
    assert inputs.tolist() == [[0.0, 0.5, 0.25], [0.0, 0.25, 0.375]]
    # L1/N5 adds 3 to x and -1 to y. L0/N4 adds 1 to x itself, and half of what L1/N5 adds: 1.5 and -0.5.
    assert outputs.tolist() == [[2.5, -0.5], [3.0, -1.0]]


def test_a_silent_neuron_has_no_input_and_passes_nothing_on():
    nodes = [list(node) for node in BY_HAND[0]]
    nodes[3][4] = 0.0
    graphs = tables_of({"p": ([tuple(n) for n in nodes], *BY_HAND[1:])})
    inputs, outputs = profile_instances(graphs["nodes"].collect(), graphs["edges"].collect(), n_tokens=3)
    assert inputs[1].tolist() == [0.0, 0.0, 0.0]
    assert outputs[0].tolist() == [1.0, 0.0]


def test_likeness_of_a_pair_by_hand():
    profiles = attribution_profiles(tables_of({"p": BY_HAND, "q": BY_HAND}), special_ids={1})
    assert profiles.units.rows() == [(0, 4, 1), (1, 5, -1)]
    input_side = (0.5 * 0.25 + 0.25 * 0.375) / (np.hypot(0.5, 0.25) * np.hypot(0.25, 0.375))
    output_side = (2.5 * 3 + 0.5) / (np.hypot(2.5, 0.5) * np.hypot(3, 1))
    pair = profiles.likeness().row(0, named=True)
    assert (pair["a"], pair["b"], pair["n"]) == (0, 1, 2.0)
    assert pair["input"] == pytest.approx(input_side * 2 / 3)  # two prompts, and one more in which they are unlike
    assert pair["output"] == pytest.approx(output_side * 2 / 3)
    assert pair["likeness"] == pytest.approx(2 * pair["input"] * pair["output"] / (pair["input"] + pair["output"]))
    assert profiles.likeness(np.array([1, 0])).is_empty()  # one prompt does not make a pair
    assert profiles.likeness(np.array([3, 1]))["n"].to_list() == [4.0]


def test_special_tokens_are_left_out_of_the_input_side():
    profiles = attribution_profiles(tables_of({"p": BY_HAND}), special_ids={2})
    assert set(profiles.tokens.filter(pl.col("side") == "input")["token"]) == {" b"}


def test_a_prompt_of_two_sets_counts_once():
    graphs = tables_of({"p": BY_HAND, "q": BY_HAND})
    twice = {name: pl.concat([table, table]) for name, table in graphs.items()}
    assert_frame_equal(attribution_profiles(graphs).likeness(), attribution_profiles(twice).likeness())


def _planted(n_prompts: int = 6):
    """Twelve neurons in one layer with four roles: those that hear a or b, and add to x or to y. No wires among them."""
    roles = list(itertools.product((0, 1), (0, 1)))
    prompts = {}
    for p in range(n_prompts):
        rng = np.random.default_rng(p)
        nodes = [("embedding", -1, at, None, 1.0, 0.0) for at in (1, 2)]
        nodes += [("neuron", 0, 2, n, 1.0, 1.0) for n in range(12)]
        nodes += [("logit", 2, 2, None, 1.0, 1.0)] * 2
        edges = []
        for n in range(12):
            reads, writes = roles[n % 4]
            edges += [(reads, 2 + n, 0.5 + rng.random()), (2 + n, 14 + writes, 0.5 + rng.random())]
        prompts[f"p{p}"] = (nodes, edges, [" x", " y"])
    return tables_of(prompts)


FLOW = pl.DataFrame(
    {"layer": [0] * 12, "neuron": range(12), "path": [str(1 + n % 4) for n in range(12)], "top": [1] * 12},
    schema={"layer": pl.Int16, "neuron": pl.Int32, "path": pl.String, "top": pl.Int32},
).with_columns(flow=pl.lit(0.1))


def test_roles_are_found_where_no_neuron_is_wired_to_another():
    frames = cluster_profiles(_planted(), {"cluster_members": FLOW.lazy()})
    for table in (PROFILE_CLUSTERS, PROFILE_MEMBERS, PROFILE_AGREEMENT):
        assert_frame_equal(table.checked(frames[table.name]), frames[table.name])
    by_role = frames["profile_members"].group_by(pl.col("neuron") % 4).agg(pl.col("cluster").unique())
    assert sorted(by_role["cluster"].to_list()) == [[1], [2], [3], [4]]
    clusters = frames["profile_clusters"]
    assert clusters["size"].to_list() == [3] * 4
    assert clusters["is_stable"].all()
    sides = {(tuple(i), tuple(o)) for i, o in clusters.select("input_tokens", "raised_tokens").iter_rows()}
    assert sides == {((t,), (o,)) for t in (" a", " b") for o in (" x", " y")}
    assert dict(frames["profile_agreement"].select("level", "ami").iter_rows()) == {
        "finest": pytest.approx(1.0),
        "top": pytest.approx(0.0),
    }


def test_neurons_unlike_all_others_have_no_cluster():
    frames = cluster_profiles(tables_of({"p": BY_HAND}), {"cluster_members": FLOW.lazy()})
    assert frames["profile_members"]["cluster"].null_count() == 2  # a single prompt is no evidence
    assert frames["profile_clusters"].is_empty()


@pytest.mark.parametrize("method", ["infomap", "leiden"])
def test_same_input_same_rows(method):
    one, two = (cluster_profiles(_planted(), {"cluster_members": FLOW.lazy()}, method=method) for _ in range(2))
    for name in one:
        assert_frame_equal(one[name], two[name])


def test_missing_tables_are_named():
    with pytest.raises(Incomplete, match="cluster_members"):
        cluster_profiles(_planted(), {})
    with pytest.raises(Incomplete, match="targets"):
        cluster_profiles({}, {"cluster_members": FLOW.lazy()})
