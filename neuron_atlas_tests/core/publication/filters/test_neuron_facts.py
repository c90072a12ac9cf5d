"""Quantiles of all neurons as one array."""

from __future__ import annotations

import tracemalloc

import numpy as np
import polars as pl

from neuron_atlas.core.publication.filters.neuron_facts import quantile_array
from neuron_atlas.core.tables import QUANTILE_LEVELS

N_LEVELS = len(QUANTILE_LEVELS)


def rows(values: np.ndarray, layers: list[int], neurons: list[int]) -> pl.DataFrame:
    return pl.DataFrame({"layer": layers, "neuron": neurons, "quantiles": list(values)})


def test_quantiles_stand_at_their_neuron_and_nan_everywhere_else() -> None:
    values = np.arange(2 * N_LEVELS, dtype=np.float32).reshape(2, N_LEVELS)
    found = quantile_array(rows(values, [1, 0], [2, 0]), n_layers=2, n_neurons=3)
    assert (found.shape, found.dtype) == ((N_LEVELS, 2, 3), np.float32)
    assert found[:, 1, 2].tolist() == values[0].tolist()
    assert found[:, 0, 0].tolist() == values[1].tolist()
    assert np.isnan(found).sum() == 4 * N_LEVELS


def test_reference_quantiles_are_read_by_column_and_never_become_python_floats() -> None:
    count = 20_000
    values = np.ones((count, N_LEVELS), np.float32)
    frame = rows(values, [0] * count, list(range(count)))
    tracemalloc.start()
    try:
        found = quantile_array(frame, n_layers=1, n_neurons=count)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * found.nbytes  # a float object alone takes 24 bytes, a float32 4
