"""One prompt set's graphs become sums: worked by hand, recounted by a plain loop, refused when damaged."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from neuron_atlas.core.aggregation.graphs.edge_packing import unpack
from neuron_atlas.core.aggregation.graphs.edge_sums import EDGE_BYTES, sum_edges
from neuron_atlas.core.aggregation.graphs.graph_stats import sum_graphs
from neuron_atlas.core.tables import SCALE_BITS
from neuron_atlas.errors import DamagedData

ONE = 2**SCALE_BITS
NO_SPECIAL: frozenset[int] = frozenset()
Raw = Callable[..., dict[str, pl.LazyFrame]]


@pytest.fixture
def two_prompts(make_raw: Raw, graph: Any) -> dict[str, pl.LazyFrame]:
    """Two layers, four neurons. Token 0 is BOS.

    a: BOS 5 6 7   L0/N0 at 1 (v=2, R=1, direct 1/4) and again, negative, at 3 (v=-1, R=1/2, direct 1/2);
                   L1/N1 at 3 (v=4, R=2, direct 2); goal = logit 9 (value 4) minus logit 8 (value 1)
    b: BOS 5 7     L0/N0 at 1 (v=1, R=1/2, direct 0); goal = logit 9 (value 2)
    """
    a = graph(
        "a" * 16,
        [0, 5, 6, 7],
        [(0, 1, 0, 2.0, 1.0, 0.25), (0, 3, 0, -1.0, 0.5, 0.5), (1, 3, 1, 4.0, 2.0, 2.0)],
        [(9, 4.0, 1.0), (8, 1.0, -1.0)],
        [
            ("e1", "n0", 2.0),
            ("n0", "n2", 1.0),
            ("n1", "n2", -0.5),
            ("n2", "l0", 3.0),
            ("n2", "l1", 1.0),
            ("e3", "l0", 0.5),
        ],
    )
    b = graph("b" * 16, [0, 5, 7], [(0, 1, 0, 1.0, 0.5, 0.0)], edges=[("e1", "n0", 1.0), ("n0", "l0", 0.5)])
    broken = graph("c" * 16, [0], [], reason="empty prompt")
    return make_raw([a, b, broken])


def test_the_set_counts_its_prompts(two_prompts: dict[str, pl.LazyFrame]) -> None:
    sums = sum_graphs(two_prompts, prompt_set="tiny", kind="domain", special_ids=frozenset({0}))
    assert sums["set_sums"].row(0) == ("tiny", "domain", 2, 1, 7)
    assert sums["neuron_prompts"].select("layer", "neuron", "prompt_id", "relevance").rows() == [
        (0, 0, "a" * 16, 1.5),
        (0, 0, "b" * 16, 0.5),
        (1, 1, "a" * 16, 2.0),
    ]
    assert sums["set_neurons"].rows() == [("tiny", 0, 0, -1, 1), ("tiny", 0, 0, 1, 2), ("tiny", 1, 1, 1, 1)]
    assert sums["pair_sums"].rows() == [(0, 0, 1, 1, 1)]


def unpacked(sums: dict[str, pl.DataFrame]) -> pl.DataFrame:
    return unpack(sums["edge_sums"].lazy()).collect()


def test_a_polarity_counts_instances_and_prompts_apart(two_prompts: dict[str, pl.LazyFrame]) -> None:
    sums = sum_graphs(two_prompts, prompt_set="tiny", kind="domain", special_ids=frozenset({0}))["neuron_sums"]
    positive = sums.row(by_predicate=(pl.col("layer") == 0) & (pl.col("polarity") == 1), named=True)
    assert (positive["n"], positive["n_prompts"], positive["activation_max"]) == (2, 2, 2.0)
    assert positive["activation_sum_q"] == 3 * ONE  # 2 + 1
    assert positive["relevance_sum_q"] == 3 * ONE // 2  # 1 + 1/2
    assert positive["direct_sum_q"] == ONE // 4  # 1/4 + 0
    assert positive["indirect_abs_sum_q"] == 5 * ONE // 4  # 3/4 + 1/2
    assert positive["der_sum_q"] == ONE // 4  # (1/4) / (1/4 + 3/4) + 0 / (0 + 1/2)
    assert positive["der_sq_sum_q"] == ONE // 16
    assert (positive["der_min"], positive["der_max"]) == (0.0, 0.25)
    negative = sums.row(by_predicate=(pl.col("layer") == 0) & (pl.col("polarity") == -1), named=True)
    assert (negative["n"], negative["activation_max"], negative["der_sum_q"]) == (1, -1.0, ONE)


def test_an_edge_sums_weight_and_flow_over_positions(two_prompts: dict[str, pl.LazyFrame]) -> None:
    edges = unpacked(sum_graphs(two_prompts, prompt_set="tiny", kind="domain", special_ids=frozenset({0})))

    def edge(source: tuple[str, int, int], target: tuple[str, int, int]) -> dict[str, Any]:
        ends = dict(zip(("source_kind", "source_layer", "source"), source, strict=True))
        ends |= dict(zip(("target_kind", "target_layer", "target"), target, strict=True))
        return edges.row(by_predicate=pl.all_horizontal(pl.col(k) == v for k, v in ends.items()), named=True)

    # L0/N0 -> L1/N1 from two positions of prompt a: weights 1 and -1/2; flow = weight / 4 * 2 = 1/2 and -1/4
    between = edge(("neuron", 0, 0), ("neuron", 1, 1))
    assert (between["n"], between["n_prompts"], between["n_positive"]) == (2, 1, 1)
    assert (between["weight_sum_q"], between["weight_abs_sum_q"]) == (ONE // 2, 3 * ONE // 2)
    assert between["weight_sq_sum_q"] == 5 * ONE // 4  # 1 + 1/4
    assert (between["flow_sum_q"], between["flow_abs_sum_q"]) == (ONE // 4, 3 * ONE // 4)
    assert (between["weight_min"], between["weight_max"]) == (-0.5, 1.0)
    # embedding of token 5 -> L0/N0 in both prompts: weights 2 and 1; flow = 2 / 2 * 1 and 1 / 1 * 1/2
    token = edge(("embedding", -1, 5), ("neuron", 0, 0))
    assert (token["n"], token["n_prompts"], token["flow_sum_q"]) == (2, 2, 3 * ONE // 2)
    # the goal takes logit 8 with weight -1: what raises it lowers the goal
    assert edge(("neuron", 1, 1), ("logit", 2, 8))["flow_sum_q"] == -ONE
    assert edge(("neuron", 1, 1), ("logit", 2, 9))["flow_sum_q"] == 3 * ONE


def test_tokens_are_counted_at_and_before_an_instance_without_special_ones(
    two_prompts: dict[str, pl.LazyFrame],
) -> None:
    sums = sum_graphs(two_prompts, prompt_set="tiny", kind="domain", special_ids=frozenset({0}))
    tokens = {(*row[:5],): row[5] for row in sums["token_sums"].iter_rows()}
    assert tokens == {
        (0, 0, 1, "active", 5): 2,  # in both prompts; only BOS stands before it
        (0, 0, -1, "active", 7): 1,
        (0, 0, -1, "window", 5): 1,
        (0, 0, -1, "window", 6): 1,
        (1, 1, 1, "active", 7): 1,
        (1, 1, 1, "window", 5): 1,
        (1, 1, 1, "window", 6): 1,
    }
    assert sums["token_base"].rows() == [(5, 2), (6, 1), (7, 2)]


def test_the_window_reaches_five_tokens_back(make_raw: Raw, graph: Any) -> None:
    raw = make_raw([graph("a" * 16, [10, 11, 12, 13, 14, 15, 16], [(0, 6, 0, 1.0, 1.0, 1.0)])])
    sums = sum_graphs(raw, prompt_set="tiny", kind="domain", special_ids=NO_SPECIAL)["token_sums"]
    assert sums.filter(pl.col("place") == "window")["token_id"].to_list() == [11, 12, 13, 14, 15]


def test_a_value_of_zero_passes_no_flow_but_a_zero_logit_keeps_its_goal_weight(make_raw: Raw, graph: Any) -> None:
    silent = graph(
        "a" * 16, [5], [(0, 0, 0, 0.0, 0.0, 0.0)], [(9, 0.0, 1.0)], [("e0", "n0", 0.5), ("n0", "l0", 0.25)]
    )  # fmt: skip
    edges = unpacked(sum_graphs(make_raw([silent]), prompt_set="tiny", kind="domain", special_ids=NO_SPECIAL))
    assert dict(edges.select("target_kind", "flow_sum_q").iter_rows()) == {"neuron": 0, "logit": ONE // 4}


def test_pairs_are_counted_among_the_most_relevant_neurons_only(make_raw: Raw, graph: Any) -> None:
    raw = make_raw([graph("a" * 16, [5], [(0, 0, n, 1.0, r, 0.0) for n, r in enumerate((0.5, -2.0, 1.0))])])
    every = sum_graphs(raw, prompt_set="tiny", kind="domain", special_ids=NO_SPECIAL)["pair_sums"]
    few = sum_graphs(raw, prompt_set="tiny", kind="domain", special_ids=NO_SPECIAL, pair_limit=2)["pair_sums"]
    assert every.select("neuron_a", "neuron_b").rows() == [(0, 1), (0, 2), (1, 2)]
    assert few.select("neuron_a", "neuron_b").rows() == [(1, 2)]


def random_graphs(graph: Any, rng: np.random.Generator, n: int) -> list[Any]:
    graphs: list[Any] = []
    for i in range(n):
        n_tokens, n_neurons = int(rng.integers(1, 6)), int(rng.integers(0, 7))
        places = rng.choice(2 * 2 * n_tokens, size=min(n_neurons, 4 * n_tokens), replace=False)
        neurons = [
            (int(x % 2), int(x // 4), int(x // 2 % 2), *(float(v) for v in rng.normal(size=3).astype(np.float32)))
            for x in sorted(places)
        ]
        names = [f"e{p}" for p in range(n_tokens)] + [f"n{p}" for p in range(len(neurons))]
        edges = [
            (s, t, float(np.float32(rng.normal())))
            for t in [*(f"n{j}" for j in range(len(neurons))), "l0"]
            for s in names
            if s != t and rng.random() < 0.5
        ]
        graphs.append(graph(f"{i:016x}", rng.integers(0, 4, n_tokens).tolist(), neurons, [(3, 1.5, 1.0)], edges))
    return graphs


def test_a_plain_loop_counts_the_same(make_raw: Raw, graph: Any) -> None:
    graphs = random_graphs(graph, np.random.default_rng(0), 12)
    sums = sum_graphs(make_raw(graphs), prompt_set="tiny", kind="domain", special_ids=NO_SPECIAL)
    edge_n: Counter[tuple[Any, ...]] = Counter()
    edge_prompts: defaultdict[tuple[Any, ...], set[str]] = defaultdict(set)
    weight: Counter[tuple[Any, ...]] = Counter()
    flow: Counter[tuple[Any, ...]] = Counter()
    neuron_n: Counter[tuple[int, int, int]] = Counter()
    for g in graphs:
        ends = {f"e{p}": ("embedding", -1, t) for p, t in enumerate(g.token_ids)}
        ends |= {f"n{i}": ("neuron", layer, n) for i, (layer, _, n, *_) in enumerate(g.neurons)}
        ends |= {f"l{i}": ("logit", 2, t) for i, (t, *_) in enumerate(g.logits)}
        slope = {f"n{i}": r / v for i, (_, _, _, v, r, _) in enumerate(g.neurons)} | {"l0": 1.0}
        for s, t, w in g.edges:
            key = (*ends[s], *ends[t])
            edge_n[key] += 1
            edge_prompts[key].add(g.prompt_id)
            weight[key] += round(w * ONE)
            flow[key] += round(w * slope[t] * ONE)
        for layer, _, n, v, *_ in g.neurons:
            neuron_n[layer, n, 1 if v >= 0 else -1] += 1
    edges = {row[:6]: row[6:] for row in unpacked(sums).iter_rows()}
    assert {k: v[0] for k, v in edges.items()} == dict(edge_n)
    assert {k: v[1] for k, v in edges.items()} == {k: len(v) for k, v in edge_prompts.items()}
    assert {k: v[3] for k, v in edges.items()} == dict(weight)
    assert all(
        abs(v[6] - flow[k]) <= edge_n[k] for k, v in edges.items()
    )  # the order of * and / may move the last unit
    assert {row[:3]: row[3] for row in sums["neuron_sums"].iter_rows()} == dict(neuron_n)


@pytest.mark.parametrize(("chunk", "at_once"), [(1, 1000), (7, 1000), (1000, 7), (3, 1)])
def test_how_edges_are_read_changes_nothing(make_raw: Raw, graph: Any, chunk: int, at_once: int) -> None:
    raw = make_raw(random_graphs(graph, np.random.default_rng(1), 9))
    traced = raw["graphs"].collect()
    nodes = raw["nodes"].collect().with_columns(pl.col("prompt_id").cast(pl.Enum(traced["prompt_id"])))
    sums = sum_edges(traced, nodes, raw["targets"], raw["edges"], chunk=chunk, memory_bytes=at_once * EDGE_BYTES)
    whole = sum_graphs(raw, prompt_set="tiny", kind="domain", special_ids=NO_SPECIAL)["edge_sums"]
    assert sums.equals(whole)  # in the same order, too


def changed(raw: dict[str, pl.LazyFrame], table: str, **columns: pl.Expr) -> dict[str, pl.LazyFrame]:
    return {**raw, table: raw[table].with_columns(**columns)}


@pytest.mark.parametrize(
    ("table", "columns", "message"),
    [
        ("graphs", {"prompt_set": pl.lit("other")}, "graphs of prompt set 'tiny' only"),
        ("nodes", {"prompt_id": pl.lit("f" * 16)}, "node belongs to no traced prompt"),
        ("edges", {"prompt_id": pl.lit("f" * 16)}, "edges belong to no traced prompt"),
        ("edges", {"source": pl.lit(99, pl.Int32)}, "name nodes that their graph does not have"),
        ("nodes", {"node": pl.col("node") + 1}, "not dense"),
        ("edges", {"weight": pl.lit(float("nan"), pl.Float32)}, "finite numbers"),
        ("edges", {"weight": pl.lit(1e10, pl.Float32)}, "finite numbers"),
        ("nodes", {"activation": pl.lit(float("inf"), pl.Float32)}, "finite numbers"),
    ],
)
def test_damaged_graphs_are_refused(
    two_prompts: dict[str, pl.LazyFrame], table: str, columns: dict[str, pl.Expr], message: str
) -> None:
    with pytest.raises(DamagedData, match=message):
        sum_graphs(changed(two_prompts, table, **columns), prompt_set="tiny", kind="domain", special_ids=NO_SPECIAL)


def test_a_sum_that_leaves_its_range_is_refused(make_raw: Raw, graph: Any) -> None:
    """Each relevance fits (6e9 < 2**33), two of them together do not: wrapping would store a negative sum."""
    heavy = [graph(c * 16, [5], [(0, 0, 0, 1.0, 6e9, 0.0)]) for c in "ab"]
    assert sum_graphs(make_raw(heavy[:1]), prompt_set="tiny", kind="domain", special_ids=NO_SPECIAL)[
        "neuron_sums"
    ].height
    with pytest.raises(DamagedData, match="finite numbers whose sums stay within"):
        sum_graphs(make_raw(heavy), prompt_set="tiny", kind="domain", special_ids=NO_SPECIAL)


def test_a_set_without_any_traced_prompt_has_empty_tables(make_raw: Raw, graph: Any) -> None:
    sums = sum_graphs(
        make_raw([graph("a" * 16, [0], [], reason="empty")]), prompt_set="tiny", kind="domain", special_ids=NO_SPECIAL
    )
    assert sums["set_sums"].row(0) == ("tiny", "domain", 0, 1, 0)
    assert {name: frame.height for name, frame in sums.items() if frame.height} == {"set_sums": 1}
