"""Correlations and shares, worked by hand; and what must hold of them whatever the numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuron_atlas.core.attribution.faithfulness.correlations_over_prompts import (
    EffectComparison,
    mean_of,
    pearson,
    share_of,
    spearman,
)
from neuron_atlas.core.attribution.faithfulness.table_rows import correlation_rows, share_rows

LINE = np.array([0.0, 1.0, 2.0])


def test_pearson_by_hand() -> None:
    # deviations (-1, 0, 1) and (-2, 1, 1): 3 / sqrt(2 · 6)
    assert pearson(LINE, np.array([0.0, 3.0, 3.0])) == pytest.approx(3 / np.sqrt(12))


def test_spearman_takes_ties_at_their_mean_rank() -> None:
    # ranks (1, 2, 3) and (1, 2.5, 2.5): deviations (-1, 0, 1) and (-1, 1/2, 1/2)
    assert spearman(LINE, np.array([0.0, 30.0, 30.0])) == pytest.approx(1.5 / np.sqrt(2 * 1.5))


@pytest.mark.parametrize("y", [[0.0, 1.0], [1.0, 1.0, 1.0], []])
def test_no_correlation_of_too_few_or_constant_numbers(y: list[float]) -> None:
    assert pearson(LINE[: len(y)], np.array(y)) is None


@given(st.lists(st.integers(-50, 50), min_size=3, max_size=12), st.integers(1, 9), st.integers(-9, 9))
def test_scale_and_shift_do_not_matter(values: list[int], scale: int, shift: int) -> None:
    x = np.arange(len(values), dtype=float)
    y = np.array(values, dtype=float)
    plain, moved = pearson(x, y), pearson(x, scale * y + shift)
    assert (plain is None) == (moved is None)
    if plain is not None:
        assert moved == pytest.approx(plain, abs=1e-9)
        assert pearson(x, -y) == pytest.approx(-plain, abs=1e-9)


def test_a_mean_leaves_out_what_is_unknown_and_holds_its_interval() -> None:
    estimate = mean_of([0.2, None, 0.6], seed=1)
    assert estimate is not None
    assert estimate.value == pytest.approx(0.4)
    assert estimate.low == pytest.approx(0.2)
    assert estimate.high == pytest.approx(0.6)
    assert mean_of([None, None], seed=1) is None
    assert mean_of([0.5], seed=1).low is None


def test_a_share_is_a_ratio_of_means_and_not_a_mean_of_ratios() -> None:
    # (1 + 8) / (4 + 8); the mean of ratios would be (1/4 + 1) / 2
    estimate = share_of(np.array([1.0, 8.0]), np.array([4.0, 8.0]), seed=0)
    assert estimate is not None
    assert estimate.value == pytest.approx(0.75)
    assert share_of(np.array([1.0]), np.array([0.0]), seed=0) is None


def test_correlations_are_taken_within_prompts() -> None:
    # each prompt's prediction is exact but for its own shift and scale: taken together they would not line up
    one = EffectComparison({"m": LINE}, LINE)
    other = EffectComparison({"m": 100 - LINE}, -5 * LINE)
    (row,) = correlation_rows("patch_output", [one, other], seed=0)
    assert row["pearson"] == pytest.approx(1.0)
    assert row["n_prompts"] == 2
    assert row["n_runs"] == 6


def test_random_circuits_are_averaged_and_named_once() -> None:
    parts = {("random 0", 8): np.array([1.0]), ("random 1", 8): np.array([3.0]), ("relp/1", 8): np.array([4.0])}
    rows = {row["method"]: row for row in share_rows("circuit", parts, np.array([4.0]), seed=0)}
    assert rows["random"]["share"] == pytest.approx(0.5)
    assert rows["random"]["n_runs"] == 2
    assert rows["relp/1"]["share"] == pytest.approx(1.0)
