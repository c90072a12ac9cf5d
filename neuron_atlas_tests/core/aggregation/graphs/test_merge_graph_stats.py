"""Sums merge exactly: any shards, in any order, give the bytes of one run over everything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuron_atlas.core.aggregation.graphs.edge_merging import EDGE_BYTES
from neuron_atlas.core.aggregation.graphs.edge_stats import edge_statistics, merge_graph_stats
from neuron_atlas.core.aggregation.graphs.graph_stats import sum_graphs
from neuron_atlas.core.hashing import frame_hash
from neuron_atlas.core.records import Frames
from neuron_atlas.errors import BadInput, DamagedData

Raw = Callable[..., dict[str, pl.LazyFrame]]

NONE = frozenset[int]()
number = st.sampled_from([0.0, -0.0]) | st.integers(-700, 700).map(lambda i: float(np.float32(i / 7)))
"""Sevenths, which binary fractions cannot hold: rounding happens, as it does in life. Zero comes with either sign."""


@st.composite
def contents(draw: st.DrawFn) -> tuple[Any, ...]:
    """Token ids, neurons, logits and edges of one graph."""
    tokens = draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    places = draw(
        st.lists(
            st.tuples(st.integers(0, 1), st.integers(0, len(tokens) - 1), st.integers(0, 1)), unique=True, max_size=4
        )
    )
    neurons = [(*place, draw(number), draw(number), draw(number)) for place in sorted(places)]
    ends = [f"n{i}" for i in range(len(neurons))]
    pairs = st.tuples(st.sampled_from([*ends, "e0"]), st.sampled_from([*ends, "l0"]))
    edges = draw(st.lists(pairs, unique=True, max_size=6))
    return tokens, neurons, [(3, draw(number), 1.0)], [(s, t, draw(number)) for s, t in edges]


def lazy(frames: Frames) -> dict[str, pl.LazyFrame]:
    return {name: frame.lazy() for name, frame in frames.items()}


def hashes(frames: Frames) -> dict[str, str]:
    return {name: frame_hash(frame) for name, frame in frames.items()}


@given(
    graphs=st.lists(contents(), min_size=1, max_size=5),
    shards=st.lists(st.integers(0, 2), min_size=5),
    reverse=st.booleans(),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_recount_of_everything_equals_the_merge(
    make_raw: Raw, graph: Any, graphs: list[tuple[Any, ...]], shards: list[int], reverse: bool
) -> None:
    everything = [graph(f"{i:016x}", *content) for i, content in enumerate(graphs)]

    def summed(some: list[Any]) -> Frames:
        return sum_graphs(make_raw(some), prompt_set="tiny", kind="domain", special_ids=frozenset({0}))

    parts = [[g for g, s in zip(everything, shards, strict=False) if s == shard] for shard in range(3)]
    merged = merge_graph_stats([lazy(summed(part)) for part in (reversed(parts) if reverse else parts)])
    assert hashes(merged) == hashes(summed(everything))


@given(graphs=st.lists(contents(), min_size=2, max_size=4), memory_edges=st.integers(0, 3))
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_adding_a_few_edges_at_a_time_gives_the_same_statistics(
    make_raw: Raw, graph: Any, graphs: list[tuple[Any, ...]], memory_edges: int
) -> None:
    parts = [
        lazy(sum_graphs(make_raw([graph(f"{i:016x}", *content)]), prompt_set="tiny", kind="domain", special_ids=NONE))
        for i, content in enumerate(graphs)
    ]
    stacked = {name: pl.concat([part[name] for part in parts]) for name in parts[0]}
    few = edge_statistics(stacked, token_text={}, min_prompts=1, memory_bytes=memory_edges * EDGE_BYTES)
    assert hashes(few) == hashes(edge_statistics(lazy(merge_graph_stats(parts)), token_text={}, min_prompts=1))


def test_prompt_sets_stay_apart_where_they_must(make_raw: Raw, graph: Any) -> None:
    """The same prompt in two sets counts in each: two rows in the index, two prompts in the sums."""
    same = graph("a" * 16, [1, 2], [(0, 1, 0, 1.0, 1.0, 1.0)])
    raw = {kind: make_raw([same], prompt_set=kind, kind=kind) for kind in ("domain", "baseline")}
    parts = [lazy(sum_graphs(raw[k], prompt_set=k, kind=k, special_ids=frozenset())) for k in raw]
    merged = merge_graph_stats(parts)
    assert merged["set_sums"].select("prompt_set", "kind", "n_prompts").rows() == [
        ("baseline", "baseline", 1),
        ("domain", "domain", 1),
    ]
    assert merged["neuron_sums"]["n_prompts"].to_list() == [2]
    assert merged["neuron_prompts"]["prompt_set"].to_list() == ["baseline", "domain"]
    assert hashes(merged) == hashes(merge_graph_stats(list(reversed(parts))))


def test_a_part_that_comes_twice_is_refused(make_raw: Raw, graph: Any) -> None:
    raw = make_raw([graph("a" * 16, [1], [(0, 0, 0, 1.0, 1.0, 1.0)])])
    part = lazy(sum_graphs(raw, prompt_set="tiny", kind="domain", special_ids=frozenset()))
    with pytest.raises(DamagedData, match="'aaaaaaaaaaaaaaaa' of prompt set 'tiny' is in two of the parts"):
        merge_graph_stats([part, part])
    with pytest.raises(DamagedData, match="is in two of the parts"):
        edge_statistics({name: pl.concat([frame, frame]) for name, frame in part.items()}, token_text={})


def test_a_set_cannot_be_domain_and_baseline(make_raw: Raw, graph: Any) -> None:
    parts = [
        lazy(sum_graphs(make_raw([graph(c * 16, [1], [])]), prompt_set="tiny", kind=kind, special_ids=frozenset()))
        for c, kind in (("a", "domain"), ("b", "baseline"))
    ]
    with pytest.raises(DamagedData, match="set_sums"):
        merge_graph_stats(parts)
    with pytest.raises(DamagedData, match="set_sums"):
        edge_statistics({name: pl.concat([part[name] for part in parts]) for name in parts[0]}, token_text={})


def test_merging_can_overflow_too(make_raw: Raw, graph: Any) -> None:
    parts = [
        lazy(
            sum_graphs(
                make_raw([graph(c * 16, [1], [(0, 0, 0, 1.0, 6e9, 0.0)])]),
                prompt_set="tiny",
                kind="domain",
                special_ids=frozenset(),
            )
        )
        for c in "ab"
    ]
    with pytest.raises(DamagedData, match="merged neuron_sums"):
        merge_graph_stats(parts)


def test_nothing_to_merge_is_a_mistake() -> None:
    with pytest.raises(BadInput, match="run graph_stats first"):
        merge_graph_stats([])
