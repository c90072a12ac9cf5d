"""The clusters asset function: three tables that agree with each other."""

from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from neuron_atlas.core.circuits.clustering.clusters import find_clusters
from neuron_atlas.core.tables import CLUSTER_MEMBERS, CLUSTER_RUNS, CLUSTERS, NEURON_PROFILES
from neuron_atlas.errors import BadInput, Incomplete


def _profiles(*neurons: tuple[int, int]) -> pl.LazyFrame:
    rows = [
        {"layer": layer, "neuron": neuron, "polarity": 1, "n": 3, "n_prompts": 3, "frequency": 1.0, "activation_mean": 1.0,
         "activation_max": 1.0, "relevance_mean": 1.0, "relevance_abs_mean": 1.0, "domain": None, "domain_specificity": None,
         "domain_z": None} for layer, neuron in neurons
    ]  # fmt: skip
    return NEURON_PROFILES.checked(pl.DataFrame(rows, schema=NEURON_PROFILES.schema)).lazy()


def test_two_cliques(wired, two_cliques):
    frames = find_clusters(wired(two_cliques))
    clusters = frames["clusters"]
    assert clusters.select("path", "level", "size", "layer_min", "layer_max", "layer_median").rows() == [
        ("1", 1, 4, 0, 1, 0.5),
        ("2", 1, 4, 0, 1, 0.5),
    ]
    assert clusters["flow"].sum() == pytest.approx(1.0)
    run = frames["cluster_runs"].row(0, named=True)
    assert (run["n_nodes"], run["n_links"], run["n_clustered"]) == (8, 13, 8)
    assert run["saving"] == pytest.approx(1 - run["codelength"] / run["one_level_codelength"])
    assert run["saving"] > 0.2
    assert (run["weight_transform"], run["signs"], run["flow_model"], run["hubs"], run["min_count"]) == (
        "abs_weight_sq", "merged", "undirected", "keep", 2,
    )  # fmt: skip
    assert (run["n_reseeds"], run["n_bootstraps"], run["bootstrap_unit"], run["resolution"]) == (4, 4, "links", None)


def test_frames_fit_their_tables(wired, two_cliques):
    frames = find_clusters(wired(two_cliques))
    for table in (CLUSTERS, CLUSTER_MEMBERS, CLUSTER_RUNS):
        assert_frame_equal(table.checked(frames[table.name]), frames[table.name])


def test_every_neuron_is_a_member_clustered_or_not(wired, two_cliques):
    seen_once = ("L5/N5", "L6/N6", 1.0, 1)  # below the minimum count
    to_token = ("L7/N7", "token 3", 1.0)
    stats = {**wired([*two_cliques, seen_once, to_token]), "neuron_profiles": _profiles((8, 8), (0, 0))}
    members = find_clusters(stats)["cluster_members"]
    outside = members.filter(pl.col("path").is_null())
    assert outside.select("layer", "neuron").rows() == [(5, 5), (6, 6), (8, 8)]
    assert outside["flow"].to_list() == [0.0, 0.0, 0.0]
    assert outside["top"].null_count() == 3
    assert members.height == 8 + 3


def test_sizes_and_flow_are_those_of_the_members_at_every_level(wired, nested):
    frames = find_clusters(wired(nested))
    assert frames["clusters"]["level"].value_counts().sort("level").rows() == [(1, 4), (2, 16)]
    members = frames["cluster_members"]
    for path, size, flow in frames["clusters"].select("path", "size", "flow").iter_rows():
        inside = members.filter((pl.col("path") == path) | pl.col("path").str.starts_with(path + "."))
        assert inside.height == size
        assert inside["flow"].sum() == pytest.approx(flow)
        assert set(inside["top"]) == {int(path[0])}


def test_nothing_repeated_is_no_stability(wired, two_cliques):
    clusters = find_clusters(wired(two_cliques), reseeds=0, bootstraps=0)["clusters"]
    assert clusters["stability"].null_count() == clusters["is_stable"].null_count() == 2
    half = find_clusters(wired(two_cliques), bootstraps=0)
    assert half["clusters"]["stability_prompts"].null_count() == 2
    assert half["clusters"]["is_stable"].to_list() == [True, True]
    assert half["cluster_runs"]["bootstrap_unit"].to_list() == ["none"]


@pytest.mark.parametrize("method", ["infomap", "leiden"])
def test_same_input_same_rows(wired, two_cliques, method):
    one, two = (find_clusters(wired(two_cliques), seed=3, method=method) for _ in range(2))
    for name in one:
        assert_frame_equal(one[name], two[name])


def test_nothing_to_cluster_is_no_error(wired):
    frames = find_clusters({**wired([]), "neuron_profiles": _profiles((0, 1))})
    assert frames["clusters"].height == 0
    assert frames["cluster_members"].rows() == [(0, 1, None, None, 0.0)]
    assert frames["cluster_runs"]["saving"].to_list() == [0.0]


def test_excitatory_links_only_can_tell_apart_what_inhibition_joins(wired, cliques):
    even, odd = cliques([f"L0/N{i}" for i in (0, 2, 4)]), cliques([f"L0/N{i}" for i in (1, 3, 5)])
    between = [(f"L0/N{a}", f"L0/N{b}", -3.0) for a in (0, 2, 4) for b in (1, 3, 5)]
    stats = wired([*even, *odd, *between])
    assert find_clusters(stats, signs="excitatory")["clusters"].height == 2
    assert find_clusters(stats, transform="abs_weight")["clusters"].height == 1


def test_unknown_options_and_missing_tables(wired, two_cliques):
    with pytest.raises(BadInput, match="transform"):
        find_clusters(wired(two_cliques), transform="cube")
    with pytest.raises(Incomplete):
        find_clusters({})
