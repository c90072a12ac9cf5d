"""Modules of one graph: like roles together, special tokens by the tokenizer's word, nobody lost."""

from __future__ import annotations

import polars as pl
import pytest

from neuron_atlas.core.circuits.analysis.modules.graph_modules import cluster_graph
from neuron_atlas.errors import BadInput


def modules(found) -> list[set[str]]:
    """The members of every module, by module number."""
    named = found.members.drop_nulls("module").with_columns(name=pl.format("L{}/N{}@{}", "layer", "neuron", "position"))
    return [set(group["name"]) for _, group in sorted(named.group_by("module"))]


def test_instances_with_the_same_sources_and_targets_are_one_module(two_jobs) -> None:
    found = modules(cluster_graph(two_jobs, special_ids={0}))
    assert found == [
        {"L0/N0@1", "L0/N1@1", "L0/N2@1"},
        {"L0/N3@2", "L0/N4@2", "L0/N5@2"},
        {"L2/N0@3", "L2/N1@3", "L2/N2@3", "L3/N0@3", "L3/N1@3", "L3/N2@3"},
    ]


def test_by_flow_those_who_talk_to_each_other_are_one_module(two_jobs) -> None:
    found = modules(cluster_graph(two_jobs, special_ids={0}, view="flow"))
    assert found == [
        {"L0/N0@1", "L0/N1@1", "L0/N2@1", "L2/N0@3", "L2/N1@3", "L2/N2@3"},
        {"L0/N3@2", "L0/N4@2", "L0/N5@2", "L3/N0@3", "L3/N1@3", "L3/N2@3"},
    ]


def test_every_neuron_is_kept_and_one_without_module_says_why(two_jobs) -> None:
    members = cluster_graph(two_jobs, special_ids={0}).members
    assert members.height == 14
    alone = members.filter(pl.col("module").is_null()).select("neuron", "path", "reason").rows()
    assert alone == [(9, None, "at a special token"), (8, None, "linked to no other instance")]
    assert members.drop_nulls("module")["reason"].null_count() == 12


def test_special_tokens_are_known_by_their_ids_and_never_by_their_text(written) -> None:
    links = [(f"@{p}", f"L0/N{n}@{p}", 1.0) for p in (0, 1) for n in range(2)]
    links += [(f"L0/N{n}@{p}", "=yes", 1.0) for p in (0, 1) for n in range(2)]
    graph = written(["<bos>", " system"], links)
    assert cluster_graph(graph).members["module"].null_count() == 0
    special = cluster_graph(graph, special_ids={0}).members.filter(pl.col("reason") == "at a special token")
    assert special["position"].to_list() == [0, 0]


def test_what_raises_and_what_lowers_the_goal_keep_apart(written) -> None:
    links = [("@0", f"L0/N{n}@0", 1.0) for n in range(4)] + [
        (f"L0/N{n}@0", "=yes", 1.0 if n < 2 else -1.0) for n in range(4)
    ]
    graph = written([" a"], links, relevance={f"L0/N{n}@0": 1.0 if n < 2 else -1.0 for n in range(4)})
    assert modules(cluster_graph(graph)) == [{"L0/N0@0", "L0/N1@0"}, {"L0/N2@0", "L0/N3@0"}]


def test_a_neuron_at_two_positions_is_two_instances(two_jobs, written) -> None:
    links = [("@0", "L0/N1@0", 1.0), ("@1", "L0/N1@1", 1.0), ("L0/N1@0", "=yes", 1.0), ("L0/N1@1", "=yes", 1.0)]
    assert cluster_graph(written([" a", " b"], links)).members.height == 2


def test_big_modules_are_divided_again_and_lose_nobody(written) -> None:
    """Sixteen instances tell the same answer; half read one token, half another: members of one half
    are alike by 1, of both by (0 + 1) / 2."""
    links = [(f"@{n // 8}", f"L0/N{n}@1", 1.0) for n in range(16)] + [(f"L0/N{n}@1", "=yes", 1.0) for n in range(16)]
    graph = written([" a", " b"], links)
    assert cluster_graph(graph).count == 1
    divided = cluster_graph(graph, split_above=10, max_depth=3)
    assert divided.count == 2
    assert divided.members["module"].null_count() == 0
    assert modules(divided) == [{f"L0/N{n}@1" for n in range(8)}, {f"L0/N{n}@1" for n in range(8, 16)}]


def test_the_same_graph_and_seed_give_the_same_modules(two_jobs) -> None:
    once, again = (cluster_graph(two_jobs, seed=3).members for _ in range(2))
    assert once.equals(again)


def test_a_graph_without_neurons_has_no_modules(written) -> None:
    found = cluster_graph(written([" a"], [("@0", "=yes", 1.0)]))
    assert (found.members.height, found.count, found.saving) == (0, 0, 0.0)


@pytest.mark.parametrize("options", [{"view": "sight"}, {"min_size": 1}, {"split_above": 1}, {"max_depth": 0}])
def test_options_that_make_no_sense_are_refused(two_jobs, options) -> None:
    with pytest.raises(BadInput, match="expected"):
        cluster_graph(two_jobs, **options)
