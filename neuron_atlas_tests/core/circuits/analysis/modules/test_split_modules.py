"""Functional splits: by place, by layer, by what members read and write; nobody is lost."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuron_atlas.core.circuits.analysis.modules.graph_modules import GraphModules
from neuron_atlas.core.circuits.analysis.modules.split_modules import SplitOptions, sides, split_modules
from neuron_atlas.errors import BadInput


@pytest.fixture
def chain(written):
    """At position 0: N0, N1 read the token; N2, N3 only neurons; N4, N5 tell the answer. At position 9 two that read and tell."""
    links = [("@0", f"L0/N{n}@0", 1.0) for n in (0, 1)]
    links += [(f"L0/N{n}@0", f"L1/N{m}@0", 1.0) for n in (0, 1) for m in (2, 3)]
    links += [(f"L1/N{n}@0", f"L2/N{m}@0", 1.0) for n in (2, 3) for m in (4, 5)]
    links += [(f"L2/N{n}@0", "=yes", 1.0) for n in (4, 5)]
    for n in (6, 7):
        links += [("@9", f"L3/N{n}@9", 1.0), (f"L3/N{n}@9", "=yes", 1.0)]
    return written([" a"] * 10, links)


def one_module(graph) -> GraphModules:
    neurons = graph.nodes.filter(pl.col("kind") == "neuron").select(
        "node",
        "layer",
        "position",
        "neuron",
        token=pl.lit(" a"),
        activation="activation",
        relevance="relevance",
        direct="direct",
    )
    return GraphModules(
        neurons.with_columns(module=pl.lit(1, pl.Int32), path=pl.lit("1"), reason=pl.lit(None, pl.String)), 0.0
    )


def parts(graph, *splits, **options) -> dict[str, list[int]]:
    found = split_modules(graph, one_module(graph), SplitOptions(splits=splits, **options)).members
    return dict(found.group_by("path", maintain_order=True).agg("neuron").iter_rows())


def test_members_far_apart_in_the_prompt_are_two_parts(chain) -> None:
    assert parts(chain, "position") == {"1/position 0": [0, 1, 2, 3, 4, 5], "1/position 9": [6, 7]}
    assert parts(chain, "position", max_gap=9) == {"1": [0, 1, 2, 3, 4, 5, 6, 7]}


def test_members_part_by_what_they_read_and_write(chain) -> None:
    found = chain.nodes.select("node", "neuron").join(sides(chain), on="node").drop("node")
    shares = {neuron: read_and_written for neuron, *read_and_written in found.iter_rows()}
    assert [shares[n] for n in (0, 2, 4, 6)] == [[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    assert parts(chain, "side") == {"1/input": [0, 1], "1/inner": [2, 3], "1/output": [4, 5], "1/through": [6, 7]}


def test_a_module_of_many_layers_falls_into_thirds(chain) -> None:
    assert parts(chain, "layer", max_span=2) == {"1/early": [0, 1, 2, 3], "1/middle": [4, 5], "1/late": [6, 7]}
    assert parts(chain, "layer") == {"1": list(range(8))}


def test_the_answers_own_tokens_are_one_side(chain) -> None:
    assert parts(chain, "answer", answer_start=5) == {"1/prompt": [0, 1, 2, 3, 4, 5], "1/answer": [6, 7]}
    assert parts(chain, "answer") == {"1": list(range(8))}


def test_small_parts_join_the_nearest(written) -> None:
    """At position 0 three read the token, and one tells the answer; at position 9 three tell it: the one joins its neighbours."""
    links = [("@0", f"L0/N{n}@0", 1.0) for n in range(3)] + [(f"L0/N{n}@0", "L1/N3@0", 1.0) for n in range(3)]
    links += [("L1/N3@0", "=yes", 1.0), *((f"L1/N{n}@9", "=yes", 1.0) for n in (4, 5, 6))]
    graph = written([" a"] * 10, links)
    assert parts(graph, "side", min_size=1) == {"1/input": [0, 1, 2], "1/output": [3, 4, 5, 6]}
    assert parts(graph, "position", "side") == {"1/position 0": [0, 1, 2, 3], "1/position 9": [4, 5, 6]}


@given(
    st.lists(st.sampled_from(["answer", "position", "layer", "side"]), max_size=4, unique=True),
    st.integers(1, 5), st.integers(0, 9), st.integers(0, 3),
)  # fmt: skip
def test_no_neuron_is_lost_by_any_split(chain_splits, min_size, max_gap, max_span) -> None:
    graph = _chain()
    options = SplitOptions(
        splits=tuple(chain_splits), min_size=min_size, max_gap=max_gap, max_span=max_span, answer_start=4
    )
    found = split_modules(graph, one_module(graph), options)
    assert found.members["module"].null_count() == 0
    assert sorted(found.members["neuron"]) == list(range(8))
    assert sorted(found.members["module"].unique()) == list(range(1, found.count + 1))
    assert min(found.members.group_by("module").len()["len"]) >= min(min_size, 8)


def _chain():
    from neuron_atlas_tests.core.circuits.analysis.conftest import graph_of

    return graph_of([" a"] * 10, [("@0", f"L{n // 2}/N{n}@{n}", 1.0) for n in range(8)])


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(BadInput, match="answer, position, layer, side"):
        SplitOptions(splits=("colour",))  # pyright: ignore[reportArgumentType]
