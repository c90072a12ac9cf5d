"""The numbers behind scores, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuron_atlas.core.labeling.scoring.measures import average_precision, correlation, pair_sums, resample


def ap(scores: list[float], positive: list[bool]) -> float:
    return float(average_precision(np.array(scores), np.array(positive), np.ones((1, len(scores))))[0])


def test_average_precision_by_hand() -> None:
    # ranks: + - + -  ->  precision at the positives 1/1 and 2/3, mean 5/6
    assert ap([4, 3, 2, 1], [True, False, True, False]) == pytest.approx(5 / 6)
    assert ap([4, 3, 2, 1], [True, True, False, False]) == 1.0
    assert ap([1, 2, 3, 4], [True, False, False, False]) == pytest.approx(1 / 4)


@given(st.lists(st.booleans(), min_size=1, max_size=12).filter(any))
def test_a_constant_score_gives_the_share_of_positives(positive: list[bool]) -> None:
    assert ap([0.5] * len(positive), positive) == pytest.approx(sum(positive) / len(positive))


@given(st.permutations(range(8)), st.lists(st.integers(0, 3), min_size=8, max_size=8))
def test_the_order_of_items_does_not_matter(order: list[int], scores: list[int]) -> None:
    positive = [n % 3 == 0 for n in range(8)]
    expected = ap([float(s) for s in scores], positive)
    assert ap([float(scores[n]) for n in order], [positive[n] for n in order]) == pytest.approx(expected)


def test_weights_count_items_more_than_once() -> None:
    twice = average_precision(np.array([2.0, 1.0]), np.array([True, False]), np.array([[1.0, 3.0], [0.0, 1.0]]))
    assert twice.tolist() == [1.0, 0.0]
    assert ap([1, 1, 1, 2], [True, True, True, False]) == pytest.approx(
        float(average_precision(np.array([1.0, 2.0]), np.array([True, False]), np.array([[3.0, 1.0]]))[0])
    )


def test_correlation_matches_numpy_and_is_0_for_a_constant() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 30))
    assert correlation(pair_sums(x, y)[None])[0] == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert correlation(pair_sums(np.ones(30), y)[None])[0] == 0.0
    halves = np.stack([pair_sums(x[:15], y[:15]), pair_sums(x[15:], y[15:])])
    assert correlation(halves.sum(axis=0, keepdims=True))[0] == pytest.approx(np.corrcoef(x, y)[0, 1])


def test_resamples_draw_as_many_as_there_are() -> None:
    drawn = resample(np.random.default_rng(0), 7)
    assert (drawn.sum(axis=1) == 7).all()
    assert drawn.max() > 1
