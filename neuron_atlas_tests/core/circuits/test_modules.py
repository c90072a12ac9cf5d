"""Modules of small graphs whose right partition one can see."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from neuron_atlas.core.circuits.flow_graph import flow_graph, neuron_edges
from neuron_atlas.core.circuits.modules import Modules, find_modules


def _found(stats, **options) -> Modules:
    return find_modules(flow_graph(neuron_edges(stats)), **{"seed": 0, "trials": 5, **options})


def _paths(modules: Modules) -> dict[tuple[int, int], tuple[int, ...]]:
    return {(layer, neuron): tuple(path) for layer, neuron, path, _ in modules.members.iter_rows()}


def test_two_cliques_joined_by_one_wire_are_two_modules(wired, two_cliques):
    paths = _paths(_found(wired(two_cliques)))
    even = {path for (_, neuron), path in paths.items() if neuron % 2 == 0}
    odd = {path for (_, neuron), path in paths.items() if neuron % 2 == 1}
    assert len(even) == len(odd) == 1
    assert even | odd == {(1,), (2,)}


def test_codelength_by_hand(wired):
    # Two pairs that never meet. Each neuron has a quarter of the flow: log2(4) = 2 bits a step without modules. With two
    # modules nobody ever switches, and each step inside a pair costs log2(2) = 1 bit.
    modules = _found(wired([("L0/N0", "L1/N0", 1.0), ("L0/N1", "L1/N1", 1.0)]))
    assert modules.one_level_codelength == pytest.approx(2.0)
    assert modules.codelength == pytest.approx(1.0)
    assert modules.saving == pytest.approx(0.5)
    assert modules.members["flow"].to_list() == pytest.approx([0.25] * 4)


def test_a_neurons_flow_is_its_share_of_link_weight(wired):
    # Links of 3^2 and 1^2: both ends of each count, so 9/20, 1/20 and 10/20.
    modules = _found(wired([("L0/N0", "L1/N0", 3.0), ("L0/N1", "L1/N0", 1.0)]))
    assert modules.members["flow"].to_list() == pytest.approx([9 / 20, 1 / 20, 10 / 20])


def test_a_hierarchy_is_found_and_numbered_without_gaps(wired, nested):
    paths = _paths(_found(wired(nested)))
    assert set(paths.values()) == {(top, sub) for top in (1, 2, 3, 4) for sub in (1, 2, 3, 4)}
    for layer in range(4):  # a top module is a layer
        assert len({path[0] for (at, _), path in paths.items() if at == layer}) == 1


def test_paths_name_modules_never_the_place_inside_one(wired, two_cliques):
    modules = _found(wired(two_cliques))
    sizes = modules.members.group_by("path").len()
    assert sizes["len"].to_list() == [4, 4]  # a path that ended in a rank would be a module of one


def test_larger_flow_comes_first(wired, cliques):
    strong = cliques([f"L0/N{i}" for i in range(4)], 5.0)
    weak = cliques([f"L1/N{i}" for i in range(4)], 1.0)
    paths = _paths(_found(wired([*weak, *strong])))
    assert paths[(0, 0)] == (1,)
    assert paths[(1, 0)] == (2,)


def test_a_module_of_one_neuron_is_none():
    from neuron_atlas.core.circuits.modules import _without_single_neurons

    leaves = {0: (1, 1), 1: (1, 1), 2: (1, 2), 3: (2,), 4: (3,), 5: (3,)}
    flows = [0.1, 0.1, 0.1, 0.4, 0.2, 0.2]
    # 2 was alone in 1.2 and stays in the enclosing module; 3 was alone in 2; module 3 has more flow than module 1.
    assert _without_single_neurons(leaves, flows) == {0: (2, 1), 1: (2, 1), 2: (2,), 3: (), 4: (1,), 5: (1,)}


def test_no_links_no_modules(wired):
    modules = _found(wired([]))
    assert modules.members.height == 0
    assert (modules.codelength, modules.saving) == (0.0, 0.0)


@pytest.mark.parametrize("flow", ["undirected", "directed"])
def test_same_graph_and_seed_same_modules(wired, two_cliques, flow):
    one, two = (_found(wired(two_cliques), seed=7, flow=flow) for _ in range(2))
    assert_frame_equal(one.members, two.members)
    assert one.codelength == two.codelength


@given(order=st.randoms(use_true_random=False))
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_row_order_does_not_matter(wired, two_cliques, order: random.Random):
    shuffled = list(two_cliques)
    order.shuffle(shuffled)
    assert_frame_equal(_found(wired(shuffled)).members, _found(wired(two_cliques)).members)
