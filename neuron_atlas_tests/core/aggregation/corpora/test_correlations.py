"""Correlated neurons: numpy's own correlation, in any batches; the sketch within its error."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from neuron_atlas.core.aggregation.corpora.correlations import Correlations


def activations(n_tokens: int = 600) -> np.ndarray:
    """[2 layers, tokens, 3 neurons]: L1/N0 follows L0/N0, L1/N1 opposes it, L0/N2 is constant, the others are their own."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, n_tokens, 3)).astype(np.float32) + 5
    x[1, :, 0] = 2 * x[0, :, 0] + 0.1 * x[1, :, 0]
    x[1, :, 1] = -x[0, :, 0] + 0.5 * x[1, :, 1]
    x[0, :, 2] = 3
    return x


@pytest.mark.parametrize("cuts", [[], [1], [200, 201, 450]])
def test_exact_is_numpys_own_whatever_the_batches(cuts: list[int]) -> None:
    x = activations()
    running = Correlations((2, 3), memory_bytes=2**20)
    for block in np.split(x, cuts, axis=1):
        running.add(block)
    assert running.is_exact
    frame = running.frame(k=9)
    flat = x.transpose(0, 2, 1).reshape(6, -1)
    varying = [0, 1, 3, 4, 5]
    r = dict(zip(varying, np.corrcoef(flat[varying]), strict=True))
    for row in frame.iter_rows(named=True):
        own, other = row["layer"] * 3 + row["neuron"], row["other_layer"] * 3 + row["other_neuron"]
        assert row["correlation"] == pytest.approx(r[own][varying.index(other)], abs=1e-5)
    assert frame.height == 5 * 4  # a constant neuron correlates with none, and none with it
    assert frame["error"].to_list() == [0.0] * 20
    first = frame.filter(pl.col("rank") == 0).select("layer", "neuron", "other_layer", "other_neuron").rows()
    assert {(0, 0, 1, 0), (1, 0, 0, 0), (1, 1, 0, 0)} <= set(first)  # by |r|: an opponent counts


def test_a_sketch_finds_the_partners_within_its_error() -> None:
    x = activations()
    running = Correlations((2, 3), memory_bytes=8 * 6 * 5)  # all pairs would take 8 * 36
    running.add(x[:, :300])
    running.add(x[:, 300:])
    assert not running.is_exact
    frame = running.frame(k=1)
    error = frame["error"][0]
    assert error == pytest.approx(0.25)  # 1 / sqrt(16)
    exact = Correlations((2, 3), memory_bytes=2**20)
    exact.add(x)
    both = frame.join(exact.frame(k=9), on=["layer", "neuron", "other_layer", "other_neuron"], suffix="_exact")
    assert both.height == frame.height
    assert (both["correlation"] - both["correlation_exact"]).abs().max() < 4 * error  # pyright: ignore[reportOperatorIssue]
    partner = frame.filter((pl.col("layer") == 1) & (pl.col("neuron") == 0)).row(0, named=True)
    assert (partner["other_layer"], partner["other_neuron"]) in ((0, 0), (1, 1))
