"""Ranks, rank correlation, the interval of a share and cumulative shares, by hand and beside other libraries."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from neuron_atlas.core.statistics import cumulative_share, ranks, spearman, wilson


def test_equal_values_share_their_rank() -> None:
    assert ranks(np.array([[3.0], [1.0], [3.0], [2.0]])).ravel().tolist() == [2.5, 0, 2.5, 1]


def test_spearman_is_polars_own() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, (30, 4)).astype(float), rng.normal(size=(30, 4))
    expected = [
        pl.DataFrame({"a": a[:, i], "b": b[:, i]}).select(pl.corr("a", "b", method="spearman")).item() for i in range(4)
    ]
    np.testing.assert_allclose(spearman(a, b), expected, rtol=1e-12)
    assert np.isnan(spearman(np.ones((5, 1)), np.arange(5.0)[:, None])).all()


def test_wilson_interval_of_all_and_none() -> None:
    # (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n), n = 10, z = 1.96
    low, high = wilson(10, 10)
    assert (low, high) == (pytest.approx(0.7225, abs=1e-3), pytest.approx(1.0))
    assert wilson(0, 10)[1] == pytest.approx(1 - 0.7225, abs=1e-3)
    assert wilson(5, 10)[0] < 0.5 < wilson(5, 10)[1]


def test_a_cumulative_share_counts_a_value_and_all_larger_ones() -> None:
    assert cumulative_share(np.array([1.0, 6.0, 3.0])).tolist() == [1.0, 0.6, 0.9]


def test_cumulative_shares_of_nothing_are_one() -> None:
    assert cumulative_share(np.zeros(3)).tolist() == [1, 1, 1]
