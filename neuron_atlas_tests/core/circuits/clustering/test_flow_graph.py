"""From edge statistics to links: which edges count, and what they weigh."""

from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from neuron_atlas.core.circuits.clustering.flow_graph import flow_graph, neuron_edges
from neuron_atlas.core.tables import EDGE_STATS
from neuron_atlas.errors import BadInput, Incomplete


def _links(stats, **options) -> dict[tuple[int, int], float]:
    graph = flow_graph(neuron_edges(stats), **{"transform": "abs_flow", **options})
    return {(s, t): w for s, t, w in graph.links.iter_rows()}


def test_only_edges_between_neurons_are_links(wired):
    stats = wired([("token 7", "L0/N0", 1.0), ("L0/N0", "L1/N0", 2.0), ("L1/N0", "token 3", 5.0)])
    assert _links(stats) == {(0, 1): 20.0}  # 10 instances of flow 2


def test_nodes_are_the_linked_neurons_in_order(wired):
    graph = flow_graph(neuron_edges(wired([("L1/N9", "L2/N0", 1.0), ("L0/N5", "L1/N9", 1.0)])), transform="abs_flow")
    assert graph.neurons.rows() == [(0, 5), (1, 9), (2, 0)]
    assert graph.links.rows() == [(0, 1, 10.0), (1, 2, 10.0)]


def test_an_edge_needs_enough_distinct_prompts(wired):
    stats = wired([("L0/N0", "L1/N0", 1.0, 1), ("L0/N1", "L1/N0", 1.0, 2), ("L0/N2", "L1/N0", 1.0, 3)])
    assert len(_links(stats, min_count=1)) == 3
    assert len(_links(stats, min_count=2)) == 2
    assert len(_links(stats, min_count=4)) == 0


@pytest.mark.parametrize(
    ("transform", "weights"),
    [
        ("abs_flow", {(0, 2): 12.0, (1, 2): 4.0}),  # 4 instances: 4 * 3, 4 * 1
        ("abs_weight", {(0, 2): 3.0, (1, 2): 1.0}),
        ("abs_weight_sq", {(0, 2): 9.0, (1, 2): 1.0}),
    ],
)
def test_what_a_link_weighs(wired, transform, weights):
    stats = wired([("L0/N0", "L1/N0", 3.0, 4), ("L0/N1", "L1/N0", -1.0, 4)])
    assert _links(stats, transform=transform) == weights


def _edge_of_both_signs(wired) -> pl.DataFrame:
    """L0/N0 raises L1/N0 by 4 in three prompts and lowers it by 2 in one: mean |w| 14/4, mean w 10/4."""
    return neuron_edges(wired([("L0/N0", "L1/N0", 3.5, 4)])).with_columns(weight_mean=pl.lit(2.5))


@pytest.mark.parametrize(("signs", "weight"), [("merged", 3.5), ("excitatory", 3.0), ("inhibitory", 0.5)])
def test_the_parts_of_an_edge_that_raises_and_lowers(wired, signs, weight):
    graph = flow_graph(_edge_of_both_signs(wired), transform="abs_weight", signs=signs)
    assert graph.links["weight"].to_list() == [weight]  # (4 + 4 + 4) / 4 and 2 / 4
    assert graph.inhibitory.is_empty()


def test_layers_hold_both_parts_side_by_side(wired):
    graph = flow_graph(_edge_of_both_signs(wired), transform="abs_weight_sq", signs="layers")
    assert graph.links.rows() == [(0, 1, 9.0)]
    assert graph.inhibitory.rows() == [(0, 1, 0.25)]
    assert graph.n_links == 2


def test_flow_is_split_like_the_weight(wired):
    edges = _edge_of_both_signs(wired).with_columns(flow_abs_mean=pl.lit(7.0))
    graph = flow_graph(edges, transform="abs_flow", signs="layers")
    assert graph.links["weight"].to_list() == [pytest.approx(4 * 7 * 6 / 7)]
    assert graph.inhibitory["weight"].to_list() == [pytest.approx(4 * 7 / 7)]


def test_only_what_inhibits_is_left_out_with_its_neurons(wired):
    stats = wired([("L0/N0", "L1/N0", 3.0, 4), ("L0/N1", "L1/N0", -1.0, 4)])
    assert _links(stats, transform="abs_weight", signs="excitatory") == {(0, 1): 3.0}
    assert _links(stats, transform="abs_weight", signs="inhibitory") == {(0, 1): 1.0}


def test_discounting_leaves_the_share_of_both_ends_traffic(wired):
    # The source sends 30 + 10 = 40, the first target hears 30 + 90 = 120: 30 / sqrt(40 * 120) = sqrt(3) / 4.
    stats = wired([("L0/N0", "L1/N0", 3.0), ("L0/N0", "L1/N1", 1.0), ("L0/N1", "L1/N0", 9.0)])
    links = _links(stats, hubs="discount")
    assert links[(0, 2)] == pytest.approx(3**0.5 / 4)
    assert links[(0, 3)] == pytest.approx(10 / (40 * 10) ** 0.5)


def test_dropping_hubs_leaves_out_who_is_linked_to_more_than_half(wired):
    star = [("L0/N0", f"L1/N{i}", 1.0) for i in range(6)]  # 6 of 8 others
    rest = [("L0/N1", "L1/N0", 1.0), ("L0/N1", "L1/N1", 1.0)]  # 2 of 7 others
    graph = flow_graph(neuron_edges(wired([*star, *rest])), hubs="drop")
    assert graph.neurons.rows() == [(0, 1), (1, 0), (1, 1)]


def test_weights_that_are_zero_or_no_number_are_no_links(wired):
    stats = wired([("L0/N0", "L1/N0", 0.0), ("L0/N1", "L1/N0", float("nan")), ("L0/N2", "L1/N0", 1.0)])
    assert list(_links(stats).values()) == [10.0]


def test_row_order_does_not_matter(wired, two_cliques):
    stats = wired(two_cliques)["edge_stats"].collect()
    there, back = (
        flow_graph(neuron_edges({"edge_stats": frame.lazy()}))
        for frame in (stats, stats.sort(pl.all(), descending=True))
    )
    assert_frame_equal(there.links, back.links)


def test_unknown_names_and_missing_tables_are_refused(wired, two_cliques):
    with pytest.raises(BadInput, match="expected one of abs_weight_sq"):
        _links(wired(two_cliques), transform="weight")
    with pytest.raises(BadInput, match="expected one of keep"):
        _links(wired(two_cliques), hubs="remove")
    with pytest.raises(BadInput, match="expected one of merged"):
        _links(wired(two_cliques), signs="both")
    with pytest.raises(Incomplete, match="materialize edge_stats"):
        neuron_edges({})


def test_no_edges_give_an_empty_graph():
    graph = flow_graph(neuron_edges({"edge_stats": EDGE_STATS.empty().lazy()}))
    assert (graph.neurons.height, graph.links.height) == (0, 0)
