"""Adjusted mutual information: by hand, and its laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuron_atlas.core.circuits.clustering.mutual_information import adjusted_mutual_information as ami

labelings = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=30)


def test_two_pairs_crossed_by_hand():
    # {0,1}{2,3} against {0,2}{1,3}: no information in common. Given the sizes, of the 3 ways to pair four things one agrees
    # (log 2) and two do not (0): expected log 2 / 3. So (0 - log(2) / 3) / (log 2 - log(2) / 3) = -1/2.
    assert ami(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])) == pytest.approx(-0.5)


def test_nothing_to_compare_agrees():
    assert ami(np.array([], np.int64), np.array([], np.int64)) == 1.0
    assert ami(np.array([3, 3]), np.array([7, 7])) == 1.0


@given(labelings)
def test_the_same_clusters_agree_whatever_their_names(pairs: list[tuple[int, int]]):
    one = np.array([a for a, _ in pairs])
    assert ami(one, 100 - 7 * one) == pytest.approx(1.0)


@given(labelings)
def test_it_is_symmetric_and_at_most_one(pairs: list[tuple[int, int]]):
    one, two = (np.array(side) for side in zip(*pairs, strict=True))
    assert ami(one, two) == pytest.approx(ami(two, one))
    assert ami(one, two) <= 1 + 1e-9


def test_chance_is_zero():
    rng = np.random.default_rng(0)
    found = [ami(rng.integers(0, 10, 500), rng.integers(0, 20, 500)) for _ in range(20)]
    assert np.mean(found) == pytest.approx(0.0, abs=0.01)
