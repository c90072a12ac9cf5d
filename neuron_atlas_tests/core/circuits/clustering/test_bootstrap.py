"""Prompts drawn again: what each adds, by hand, and that nothing is lost when each stands once."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from neuron_atlas.core.circuits.clustering.bootstrap import prompt_draws
from neuron_atlas.core.circuits.clustering.clusters import find_clusters

NODES = [
    ("a", 0, 0, 0, 2.0, 1.0),
    ("a", 1, 1, 0, -4.0, 2.0),
    ("a", 2, 1, 0, 0.0, 3.0),
    ("b", 0, 0, 0, 1.0, 1.0),
    ("b", 1, 1, 0, 1.0, 5.0),
    ("b", 2, 1, 1, 1.0, 1.0),
]
"""Prompt, node, layer, neuron, activation, relevance. L1/N0 stands twice in prompt a, the second time silent."""

EDGES = [("a", 0, 1, 3.0), ("a", 0, 2, -1.0), ("b", 0, 1, 2.0), ("b", 0, 2, 6.0)]


@pytest.fixture
def graphs() -> dict[str, pl.LazyFrame]:
    nodes = pl.DataFrame(
        NODES,
        schema={"prompt_id": pl.String, "node": pl.Int32, "layer": pl.Int16, "neuron": pl.Int32, "activation": pl.Float32,
                "relevance": pl.Float32},
        orient="row",
    )  # fmt: skip
    edges = {"prompt_id": pl.String, "source": pl.Int32, "target": pl.Int32, "weight": pl.Float32}
    return {
        "graphs": pl.LazyFrame(
            {"prompt_set": ["s", "s", "s"], "prompt_id": ["a", "b", "c"], "reason": [None, None, "bad"]}
        ),
        "nodes": nodes.with_columns(kind=pl.lit("neuron")).lazy(),
        "edges": pl.DataFrame(EDGES, schema=edges, orient="row").lazy(),
    }


def test_each_prompt_once_gives_the_sums_of_all(graphs):
    found = prompt_draws(graphs).weighted(np.array([1, 1]))
    # L0/N0 -> L1/N0: weights 3, -1 (prompt a) and 2 (b). Flow 3 * 2/-4, 0 (a silent target passes nothing on), 2 * 5/1.
    assert found.drop("target_layer", "source_layer").rows() == [
        (0, 0, 3.0, 2.0, pytest.approx(4 / 3), 2.0, pytest.approx(11.5 / 3)),
        (0, 1, 1.0, 1.0, 6.0, 6.0, 6.0),
    ]


def test_a_prompt_drawn_twice_counts_twice_and_one_not_drawn_takes_its_edges_along(graphs):
    found = prompt_draws(graphs).weighted(np.array([2, 0]))
    assert found.select("target", "n", "n_prompts", "weight_mean", "weight_abs_mean").rows() == [
        (0, 4.0, 2.0, 1.0, 2.0)
    ]


def test_as_many_prompts_are_drawn_of_every_set(graphs):
    two_sets = pl.LazyFrame({"prompt_set": ["s", "t"], "prompt_id": ["a", "b"], "reason": [None, None]})
    draws = prompt_draws({**graphs, "graphs": two_sets.with_columns(pl.col("reason").cast(pl.String))})
    every = draws.weighted(np.array([1, 1]))
    for seed in range(5):  # one prompt in each set: every draw is that prompt
        assert_frame_equal(draws.draw(np.random.default_rng(seed)), every)


def test_draws_depend_on_the_seed_alone_and_differ(graphs):
    draws = prompt_draws(graphs)
    assert_frame_equal(draws.draw(np.random.default_rng(1)), draws.draw(np.random.default_rng(1)))
    assert len({draws.draw(np.random.default_rng(seed))["n"][0] for seed in range(12)}) > 1


def test_a_prompt_of_two_sets_counts_its_edges_once_however_often_they_stand(graphs):
    twice = {name: pl.concat([graphs[name], graphs[name]]) for name in ("nodes", "edges")}
    one, two = (prompt_draws(given).weighted(np.array([1, 1])) for given in (graphs, {**graphs, **twice}))
    assert_frame_equal(one, two)


def test_too_many_edges_or_no_graphs_are_not_kept(graphs):
    assert prompt_draws(graphs, max_edges=3) is None
    assert prompt_draws({}) is None


def _circuits(n_prompts: int, modules: dict[str, list[int]]) -> dict[str, pl.LazyFrame]:
    """Graphs in which the neurons of each module are wired to each other in the prompts it lists."""
    nodes, edges = [], []
    for prompt in range(n_prompts):
        present = [n for n, (_, prompts) in enumerate(sorted(modules.items())) if prompt in prompts]
        for at, module in enumerate(present):
            for i in range(4):
                nodes.append((f"p{prompt:02}", 4 * at + i, i, module, 1.0, 1.0))
            edges += [(f"p{prompt:02}", 4 * at + i, 4 * at + j, 1.0) for i in range(4) for j in range(i + 1, 4)]
    node = {"prompt_id": pl.String, "node": pl.Int32, "layer": pl.Int16, "neuron": pl.Int32, "activation": pl.Float32,
            "relevance": pl.Float32}  # fmt: skip
    edge = {"prompt_id": pl.String, "source": pl.Int32, "target": pl.Int32, "weight": pl.Float32}
    return {
        "graphs": pl.LazyFrame(
            {"prompt_set": ["s"] * n_prompts, "prompt_id": [f"p{i:02}" for i in range(n_prompts)]}
        ).with_columns(reason=pl.lit(None, pl.String)),
        "nodes": pl.DataFrame(nodes, schema=node, orient="row").with_columns(kind=pl.lit("neuron")).lazy(),
        "edges": pl.DataFrame(edges, schema=edge, orient="row").lazy(),
    }


def test_a_module_that_hangs_on_two_prompts_is_flagged_and_one_seen_everywhere_is_not(wired):
    everywhere, seldom = list(range(20)), [3, 7]
    graphs = _circuits(20, {"a": everywhere, "b": seldom})
    wires = [
        (f"L{i}/N{module}", f"L{j}/N{module}", 1.0, len(prompts))
        for module, prompts in ((0, everywhere), (1, seldom))
        for i in range(4)
        for j in range(i + 1, 4)
    ]
    frames = find_clusters(wired(wires), graphs=graphs, bootstraps=20)
    columns = frames["clusters"].select("path", "stability_seeds", "stability_prompts", "is_stable")
    rows = {path: (seeds, prompts, stable) for path, seeds, prompts, stable in columns.iter_rows()}
    assert frames["cluster_runs"]["bootstrap_unit"].to_list() == ["prompts"]
    assert rows["1"][1:] == (1.0, True)  # more flow: seen everywhere
    assert rows["2"][0] == 1.0  # every search finds it
    assert (
        rows["2"][1] < 0.7
    )  # but in four of ten draws at most one of its prompts is left (2 draws of 2/20: 1 - 3 / e^2)
    assert not rows["2"][2]
