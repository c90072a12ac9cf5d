"""Two graphs compared: keys by instance, similarities by hand."""

from __future__ import annotations

import polars as pl
import pytest

from neuron_atlas.core.circuits.analysis.comparison.alignment import aligned_positions
from neuron_atlas.core.circuits.analysis.comparison.compare_graphs import compare_graphs
from neuron_atlas.core.circuits.analysis.modules.graph_modules import cluster_graph
from neuron_atlas.errors import BadInput


def compared(a, b, **options):
    return compare_graphs(a, b, cluster_graph(a), cluster_graph(b), **options)


def test_a_graph_is_wholly_like_itself(two_jobs) -> None:
    found = compared(two_jobs, two_jobs)
    assert {name: round(value, 6) for name, value in found.similarities.items()} == dict.fromkeys(
        found.similarities, 1.0
    )
    assert set(found.neurons["found"]) == {"both"}
    assert found.neurons["difference"].abs().max() == 0


def test_neurons_and_links_are_counted_by_instance(written) -> None:
    """a has N0@0 and N0@1, b has N0@0 and N1@1: one of three instances is shared; relevances 1 and 3 there, 1 elsewhere."""
    a = written([" a", " b"], [("@0", "L0/N0@0", 1.0), ("@1", "L0/N0@1", 1.0), ("L0/N0@0", "=yes", 2.0)])
    b = written([" a", " b"], [("@0", "L0/N0@0", 1.0), ("@1", "L0/N1@1", 1.0), ("L0/N0@0", "=yes", -2.0)],
                relevance={"L0/N0@0": 3.0})  # fmt: skip
    found = compared(a, b)
    assert found.neurons.select("key", "found").sort("key").rows() == [
        ("L0/N0@0", "both"), ("L0/N0@1", "a"), ("L0/N1@1", "b")
    ]  # fmt: skip
    assert found.similarities["neurons"] == pytest.approx(1 / 3)
    assert found.similarities["neurons_weighted"] == pytest.approx(1 / (3 + 1 + 1))
    # links: token 0 -> N0@0 with flow 1 and 3, N0@0 -> yes with 2 and -2, and one of either graph alone
    assert found.similarities["links"] == pytest.approx(2 / 4)
    assert found.similarities["links_weighted"] == pytest.approx(1 / (3 + 2 + 1 + 1))
    assert found.answers.rows() == [("L0/N0@0", 2.0, -2.0, -4.0)]


def test_what_is_missing_counts_as_nothing_in_differences(written) -> None:
    a = written([" a"], [("@0", "L0/N0@0", 1.0)], relevance={"L0/N0@0": 2.0})
    b = written([" a"], [("@0", "L0/N1@0", 1.0)], relevance={"L0/N1@0": -5.0})
    rows = compared(a, b).neurons.select("key", "relevance_a", "relevance_b", "difference").rows()
    assert rows == [("L0/N1@0", None, -5.0, -5.0), ("L0/N0@0", 2.0, None, -2.0)]


def test_positions_align_by_place_by_end_or_by_token() -> None:
    a, b = [" the", " cat", " is"], [" now", " the", " dog", " is"]
    assert aligned_positions(a, b, by="position") == {0: 0, 1: 1, 2: 2}
    assert aligned_positions(a, b, by="end") == {0: 1, 1: 2, 2: 3}
    assert aligned_positions(a, b, by="token") == {0: 1, 1: 2, 2: 3}
    assert aligned_positions(a, [" the", " is"], by="token") == {0: 0, 2: 1}
    with pytest.raises(BadInput, match="position, end, token"):
        aligned_positions(a, b, by="colour")  # pyright: ignore[reportArgumentType]


def test_prompts_of_different_length_are_alike_when_their_ends_are(written) -> None:
    a = written([" a"], [("@0", "L0/N0@0", 1.0), ("L0/N0@0", "=yes", 1.0)])
    b = written([" x", " a"], [("@1", "L0/N0@1", 1.0), ("L0/N0@1", "=yes", 1.0)])
    assert compared(a, b).similarities["neurons"] == 0.0
    found = compared(a, b, by="end")
    assert found.similarities["neurons"] == 1.0
    assert found.neurons.select("position_a", "position_b").rows() == [(0, 1)]


def test_modules_that_do_one_job_with_other_neurons_are_matched_by_their_places(written) -> None:
    """In a neurons 0-2 read the token and 10-12 lower the goal, in b neurons 3-5 and 13-15 do so."""

    def graph(first: int):
        raising, lowering = [range(start + first, start + first + 3) for start in (0, 10)]
        links = [("@0", f"L0/N{n}@0", 1.0) for n in raising] + [(f"L0/N{n}@0", "=yes", 1.0) for n in raising]
        links += [("@1", f"L1/N{n}@1", 1.0) for n in lowering] + [(f"L1/N{n}@1", "=yes", -1.0) for n in lowering]
        return written([" a", " b"], links, relevance={f"L1/N{n}@1": -1.0 for n in lowering})

    found = compared(graph(0), graph(3))
    assert found.modules.rows() == [(1, 1, 0.5, 0.0, 1.0), (2, 2, 0.5, 0.0, 1.0)]
    assert found.similarities["neurons"] == 0.0
    assert found.similarities["modules"] == 0.5
    assert found.similarities["roles"] is None


def test_modules_without_match_are_listed_alone(written, two_jobs) -> None:
    empty = written(["<bos>", " cat", " sat", "."], [("@0", "=yes", 1.0)])
    found = compared(two_jobs, empty).modules
    assert found["module_b"].null_count() == found.height == cluster_graph(two_jobs).count
    assert found.filter(pl.col("likeness").is_not_null()).is_empty()
