"""Modules of small graphs whose right partition one can see."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from neuron_atlas.core.circuits.clustering.community_detection import map_equation
from neuron_atlas.core.circuits.clustering.find_modules import Modules, find_modules
from neuron_atlas.core.circuits.clustering.flow_graph import flow_graph, neuron_edges
from neuron_atlas.errors import BadInput


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
    from neuron_atlas.core.circuits.clustering.find_modules import _without_single_neurons

    leaves = {0: (1, 1), 1: (1, 1), 2: (1, 2), 3: (2,), 4: (3,), 5: (3,)}
    flows = [0.1, 0.1, 0.1, 0.4, 0.2, 0.2]
    # 2 was alone in 1.2 and stays in the enclosing module; 3 was alone in 2; module 3 has more flow than module 1.
    assert _without_single_neurons(leaves, flows) == {0: (2, 1), 1: (2, 1), 2: (2,), 3: (), 4: (1,), 5: (1,)}


def test_no_links_no_modules(wired):
    modules = _found(wired([]))
    assert modules.members.height == 0
    assert (modules.codelength, modules.saving) == (0.0, 0.0)


@pytest.mark.parametrize("how", [{"flow": "undirected"}, {"flow": "directed"}, {"method": "leiden"}])
def test_same_graph_and_seed_same_modules(wired, nested, how):
    one, two = (_found(wired(nested), seed=7, **how) for _ in range(2))
    assert_frame_equal(one.members, two.members)
    assert one.codelength == two.codelength


@given(order=st.randoms(use_true_random=False))
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_row_order_does_not_matter(wired, two_cliques, order: random.Random):
    shuffled = list(two_cliques)
    order.shuffle(shuffled)
    assert_frame_equal(_found(wired(shuffled)).members, _found(wired(two_cliques)).members)


def test_leiden_finds_the_cliques_as_one_level(wired, two_cliques, nested):
    paths = _paths(_found(wired(two_cliques), method="leiden"))
    assert {n % 2: paths[(0, n)] for n in (0, 1)} == {n % 2: path for (_, n), path in paths.items()}
    assert set(paths.values()) == {(1,), (2,)}
    groups = _paths(_found(wired(nested), method="leiden", resolution=5.0))
    assert {len(path) for path in groups.values()} == {1}
    assert len(set(groups.values())) == 16


def test_a_higher_resolution_gives_more_groups(wired, nested):
    coarse, fine = (_found(wired(nested), method="leiden", resolution=r).members for r in (0.01, 1.0))
    assert (coarse["path"].n_unique(), fine["path"].n_unique()) == (4, 16)


def test_the_map_equation_by_hand_and_as_infomap_has_it(wired, two_cliques):
    # Two pairs that never meet: nothing leaves a module, and inside one each step costs one bit.
    ends = np.array([0, 2]), np.array([1, 3])
    flows, codelength, one_level = map_equation(*ends, np.ones(2), np.array([0, 0, 1, 1]))
    assert (flows.tolist(), codelength, one_level) == ([0.25] * 4, 1.0, 2.0)
    infomap, leiden = (_found(wired(two_cliques), method=method) for method in ("infomap", "leiden"))
    assert leiden.members["flow"].to_list() == pytest.approx(infomap.members["flow"].to_list())
    assert leiden.codelength == pytest.approx(infomap.codelength)
    assert leiden.one_level_codelength == pytest.approx(infomap.one_level_codelength)


def _rivals() -> list[tuple[str, str, float]]:
    """Two camps of six: each neuron excites three of its own camp in the next layer, and inhibits all of the other camp there
    more strongly than it excites."""
    wires: list[tuple[str, str, float]] = []
    for layer in range(3):
        for a in range(12):
            for b in range(12):
                if a % 2 == b % 2 and (a // 2 + b // 2) % 2 == 0:
                    wires.append((f"L{layer}/N{a}", f"L{layer + 1}/N{b}", 1.0))
                elif a % 2 != b % 2:
                    wires.append((f"L{layer}/N{a}", f"L{layer + 1}/N{b}", -1.2))
    return wires


def test_inhibition_between_rivals_hides_the_camps_unless_kept_apart(wired):
    def camps(signs: str) -> bool:
        """Whether no module holds neurons of both camps."""
        graph = flow_graph(neuron_edges(wired(_rivals())), signs=signs)
        paths = _paths(find_modules(graph, seed=0, trials=5))
        return not {path[:1] for (_, n), path in paths.items() if n % 2} & {
            path[:1] for (_, n), path in paths.items() if not n % 2
        }

    assert not camps("merged")
    assert camps("excitatory")


def test_layers_keep_neurons_that_only_inhibit(wired, cliques):
    even, odd = cliques([f"L0/N{i}" for i in (0, 2, 4, 6)]), cliques([f"L0/N{i}" for i in (1, 3, 5, 7)], -1.0)
    stats = wired([*even, *odd, ("L0/N0", "L0/N1", 0.1)])
    graph = flow_graph(neuron_edges(stats), signs="layers")
    paths = _paths(find_modules(graph, seed=0, trials=5))
    assert paths[(0, 0)] != paths[(0, 1)]
    assert {n % 2: paths[(0, n)] for n in (0, 1)} == {n % 2: path for (_, n), path in paths.items()}
    assert sum(find_modules(graph, seed=0, trials=5).members["flow"]) == pytest.approx(1.0)


def test_what_leiden_cannot_do_is_refused(wired, two_cliques):
    with pytest.raises(BadInput, match="expected one of infomap, leiden"):
        _found(wired(two_cliques), method="louvain")
    with pytest.raises(BadInput, match="follows links either way"):
        _found(wired(two_cliques), method="leiden", flow="directed")
    with pytest.raises(BadInput, match="above 0"):
        _found(wired(two_cliques), method="leiden", resolution=0.0)
    layered = flow_graph(neuron_edges(wired([*two_cliques, ("L0/N0", "L1/N1", -1.0)])), signs="layers")
    with pytest.raises(BadInput, match="does not support signs"):
        find_modules(layered, seed=0, trials=1, method="leiden")
