"""Steering on a model that adds up activations: token i's logit is what neurons i of both layers are at the last position."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuron_atlas.core.circuits.analysis.interventions.steering import (
    Site,
    align,
    averaged,
    random_sets,
    scaled,
    sites_of,
    steer,
    transplanted,
    zeroed,
)
from neuron_atlas.errors import BadInput

LAST = 1


@pytest.fixture
def model(table_model):
    """Token 1 makes both N1 fire with 2, token 2 both N2 with 3."""
    return table_model({1: _only(1, 2.0), 2: _only(2, 3.0)})


def _only(neuron: int, value: float) -> np.ndarray:
    table = np.zeros((2, 6))
    table[:, neuron] = value
    return table


def _logits(found) -> dict[int, tuple[float, float]]:
    return {row["token_id"]: (row["logit"], row["logit_after"]) for row in found.tokens.iter_rows(named=True)}


def test_zeroing_takes_away_what_the_sites_gave(model) -> None:
    found = steer(model, [0, 1], [Site(0, 1, LAST)], zeroed, tokens=[1, 2])
    assert _logits(found) == {1: (4.0, 2.0), 2: (0.0, 0.0)}


def test_scaling_multiplies_and_a_negative_factor_turns_the_sign(model) -> None:
    found = steer(model, [0, 1], [Site(0, 1), Site(1, 1)], scaled(-1.5), tokens=[1])
    assert _logits(found) == {1: (4.0, -6.0)}
    assert (found.top, found.top_after) == (1, 0)


def test_a_module_transplanted_from_another_prompt_brings_its_answer(model) -> None:
    (donor,) = model.activations([[0, 2]])
    sites = [Site(layer, neuron, LAST) for layer in (0, 1) for neuron in (1, 2)]
    found = steer(model, [0, 1], sites, transplanted(donor, align([0, 1], [0, 2])), tokens=[1, 2])
    assert _logits(found) == {1: (4.0, 0.0), 2: (0.0, 6.0)}
    assert (found.top, found.top_after) == (1, 2)


def test_the_mean_is_taken_place_by_place(model) -> None:
    change = averaged(list(model.activations([[0, 1], [0, 2]])))
    found = steer(model, [0, 1], [Site(0, 1), Site(0, 2)], change, tokens=[1, 2])
    assert _logits(found) == {1: (4.0, 2.0 + 1.0), 2: (0.0, 1.5)}
    with pytest.raises(BadInput, match=r"one length.*\[1, 2\]"):
        averaged(list(model.activations([[0], [0, 2]])))


def test_random_sets_tell_what_a_change_of_this_size_does_to_anything(model) -> None:
    """All other neurons are 0, so zeroing them changes nothing: no random set does as much as the module."""
    found = steer(model, [0, 1], [Site(0, 1, LAST)], zeroed, tokens=[1], n_random_sets=4)
    row = found.tokens.row(0, named=True)
    assert (row["logit_change"], row["random_change"], row["random_std"], row["random_share"]) == (-2.0, 0.0, 0.0, 0.0)
    assert (found.n_random_sets, found.random_top_kept) == (4, 1.0)


def test_without_other_neurons_there_is_no_chance_to_compare_with(model) -> None:
    found = steer(model, [0, 1], [Site(0, n, LAST) for n in range(4)], zeroed, tokens=[1])
    assert found.n_random_sets == 0
    assert found.random_top_kept is None
    assert found.tokens["random_change"].to_list() == [None]


@given(st.sets(st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(0, 2)), min_size=1, max_size=12))
def test_random_sets_match_layers_and_positions_and_avoid_the_module(places) -> None:
    sites = [Site(*place) for place in places]
    for one in random_sets(sites, n_neurons=30, count=3, rng=np.random.default_rng(0)):
        assert sorted((s.layer, s.position) for s in one) == sorted((s.layer, s.position) for s in sites)
        assert not set(one) & set(sites)
        assert len(set(one)) == len(one)


def test_prompts_of_equal_length_align_place_by_place_and_others_are_refused() -> None:
    assert align([5, 6, 7], [5, 8, 7]) == {0: 0, 1: 1, 2: 2}
    with pytest.raises(BadInput, match="3 and 2 tokens"):
        align([5, 6, 7], [5, 8])
    assert align([5, 6, 7], [5, 8], places={-1: -1}) == {2: 1}
    with pytest.raises(BadInput, match="outside"):
        align([5, 6, 7], [5, 8], places={0: 4})


def test_a_site_without_a_place_in_the_donor_stays_as_it_is(model) -> None:
    (donor,) = model.activations([[2]])
    edits = transplanted(donor, align([0, 1], [2], places={-1: -1}))([Site(0, 2, 0), Site(0, 2, 1), Site(1, 2)])
    assert [(e.layer, e.position, e.value) for e in edits] == [(0, 1, 3.0), (1, 1, 3.0)]


def test_sites_of_members_stand_once_and_in_order() -> None:
    rows = pl.DataFrame({"layer": [1, 0, 1], "neuron": [2, 3, 2], "position": [4, 5, 4]})
    assert sites_of(rows) == [Site(0, 3, 5), Site(1, 2, 4)]


def test_nothing_to_change_is_refused(model) -> None:
    with pytest.raises(BadInput, match="at least one neuron"):
        steer(model, [0, 1], [], zeroed, tokens=[1])
