"""Which neurons become nodes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuron_atlas.core.attribution.select_nodes import check_selection, select_nodes
from neuron_atlas.core.records import TraceOptions
from neuron_atlas.errors import BadInput

# Two layers, two positions, two neurons.
RELEVANCE = np.array([[[0.5, -3.0], [0.0, 1.0]], [[2.0, -0.1], [0.0, -3.0]]], dtype=np.float32)


def chosen(**options: object) -> list[tuple[int, int, int]]:
    nodes = select_nodes(RELEVANCE, goal_value=-10.0, options=TraceOptions(**options))
    return list(zip(nodes.layers.tolist(), nodes.positions.tolist(), nodes.neurons.tolist(), strict=True))


def test_tau_is_a_share_of_the_goals_size_and_signs_do_not_matter() -> None:
    assert chosen(tau=0.2) == [(0, 0, 1), (1, 0, 0), (1, 1, 1)]
    assert chosen(tau=0.3) == [(0, 0, 1), (1, 1, 1)]


def test_nodes_stand_by_layer_position_neuron() -> None:
    assert chosen(tau=0.0) == [(0, 0, 0), (0, 0, 1), (0, 1, 1), (1, 0, 0), (1, 0, 1), (1, 1, 1)]


def test_a_neuron_without_relevance_is_never_a_node() -> None:
    assert len(chosen(tau=0.0)) == len(chosen(top_n=8)) == len(chosen(mass=1.0)) == 6


def test_top_n_takes_the_largest_and_of_equals_the_first() -> None:
    assert chosen(top_n=1) == [(0, 0, 1)]
    assert chosen(top_n=3) == [(0, 0, 1), (1, 0, 0), (1, 1, 1)]


def test_mass_takes_the_smallest_set_that_holds_it() -> None:
    assert chosen(mass=5.9 / 9.6) == [(0, 0, 1), (1, 1, 1)]  # 3 + 3 of 9.6
    assert chosen(mass=6.1 / 9.6) == [(0, 0, 1), (1, 0, 0), (1, 1, 1)]


def test_more_than_max_nodes_are_trimmed_to_the_largest_and_flagged() -> None:
    nodes = select_nodes(RELEVANCE, goal_value=10.0, options=TraceOptions(tau=0.0, max_nodes=2))
    assert nodes.is_trimmed
    assert list(zip(nodes.layers, nodes.neurons, strict=True)) == [(0, 1), (1, 1)]
    assert not select_nodes(RELEVANCE, goal_value=10.0, options=TraceOptions(tau=0.0, max_nodes=6)).is_trimmed


def test_excluded_neurons_are_nodes_at_no_position() -> None:
    assert chosen(tau=0.0, exclude=("L0/N1", "L1/N0")) == [(0, 0, 0), (1, 0, 1), (1, 1, 1)]
    assert chosen(top_n=2, exclude=("L0/N1",)) == [(1, 0, 0), (1, 1, 1)]
    with pytest.raises(BadInput, match="cannot exclude L2/N0: the model has 2 layers of 2 neurons"):
        chosen(exclude=("L2/N0",))
    with pytest.raises(BadInput, match="expected the form L18/N6721"):
        check_selection(TraceOptions(exclude=("7",)))


def test_nothing_relevant_gives_no_nodes() -> None:
    for options in (TraceOptions(), TraceOptions(top_n=3), TraceOptions(mass=0.5)):
        assert len(select_nodes(np.zeros((2, 2, 2), np.float32), goal_value=0.0, options=options)) == 0


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**20), count=st.integers(1, 30))
def test_what_is_chosen_is_at_least_as_large_as_what_is_not(seed: int, count: int) -> None:
    relevance = np.random.default_rng(seed).integers(-4, 5, (2, 3, 4)).astype(np.float32)
    nodes = select_nodes(relevance, goal_value=1.0, options=TraceOptions(top_n=count))
    is_chosen = np.zeros(relevance.shape, bool)
    is_chosen[nodes.layers, nodes.positions, nodes.neurons] = True
    assert is_chosen.sum() == min(count, np.count_nonzero(relevance))
    if is_chosen.any() and not is_chosen.all():
        assert np.abs(relevance[is_chosen]).min() >= np.abs(relevance[~is_chosen]).max()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_n": 5, "mass": 0.5}, "by top_n or by mass, not both"),
        ({"top_n": 0}, "top_n must be at least 1"),
        ({"mass": 1.5}, "at most 1; got 1.5"),
        ({"tau": float("nan")}, "tau must be a finite number"),
        ({"edge_tau": -1.0}, "edge_tau must be a finite number"),
        ({"k": 0}, "k must be at least 1"),
        ({"max_nodes": 0}, "max_nodes must be at least 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        check_selection(TraceOptions(**options))
