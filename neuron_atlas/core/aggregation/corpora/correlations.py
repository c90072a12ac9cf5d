"""Which neurons rise and fall together over the tokens of a corpus, in one pass and bounded memory.

Pearson's correlation r of two neurons' activations at the same token, over all tokens. While all pairs fit into memory their sums
of products are kept and r is exact. In a larger model every neuron keeps a sketch instead: its activations times random signs,
one of `K` sums per token drawn for all neurons alike. Scalar products of sketches estimate those of the activations without bias,
so r comes with a standard error of at most about 1 / sqrt(K) (Alon, Matias, Szegedy 1996), which is stored beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neuron_atlas.core.ports import Array

MAX_SKETCH = 1024
"""Sums of a sketch at most: a standard error of 0.03."""

ROWS = 1024
"""Neurons compared with all others at a time."""


_STATE = ("sum", "square_sum", "products", "sign_sum")


class Correlations:
    """Running products of [L, I] neurons; `add` blocks of activations [L, tokens, I], then take the `frame`."""

    def __init__(self, shape: tuple[int, int], *, memory_bytes: int, seed: int = 0) -> None:
        self.shape = shape
        n = shape[0] * shape[1]
        self._n_tokens: int = 0
        self._sum: NDArray[np.float64] = np.zeros(n)
        self._square_sum: NDArray[np.float64] = np.zeros(n)
        self.is_exact = 8 * n * n <= memory_bytes
        width = n if self.is_exact else min(max(memory_bytes // (8 * n), 16), MAX_SKETCH)
        self._products: NDArray[np.float64] = np.zeros((n, width))
        self._sign_sum = np.zeros(width)
        self._shift: NDArray[np.float32] | None = None
        self._seed = seed

    def add(self, block: Array) -> None:
        """Count a block [L, tokens, I]."""
        values: Array = block.transpose(0, 2, 1).reshape(self._sum.shape[0], -1)
        shift = self._shift
        if shift is None:  # near the mean, so that float32 products of a block lose nothing
            shift = self._shift = np.asarray(values.mean(axis=1), dtype=np.float32)
        x: Array = values - shift[:, None]
        self._n_tokens += x.shape[1]
        self._sum += x.sum(axis=1, dtype=np.float64)
        self._square_sum += np.square(x, dtype=np.float64).sum(axis=1)
        if self.is_exact:
            self._products += x @ x.T
            return
        rng = np.random.default_rng([self._seed, self._n_tokens])  # seeded for every block: no generator state to save
        draws = rng.integers(0, 2, (x.shape[1], self._products.shape[1]))
        signs = (2 * draws - 1).astype(np.float32)
        self._products += x @ signs
        self._sign_sum += signs.sum(axis=0, dtype=np.float64)

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything counted so far."""
        shift = {} if self._shift is None else {"shift": self._shift}
        return shift | {name: getattr(self, f"_{name}") for name in _STATE} | {"n_tokens": np.array(self._n_tokens)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from what `state` returned."""
        for name in _STATE:
            setattr(self, f"_{name}", state[name])
        self._n_tokens, self._shift = int(state["n_tokens"]), state.get("shift")

    def frame(self, *, k: int = 10) -> pl.DataFrame:
        """Columns of table `correlated_neurons` but for `corpus`: the `k` others of largest |r| for every neuron that varies."""
        mean = self._sum / self._n_tokens
        spread = np.sqrt(np.maximum(self._square_sum / self._n_tokens - mean * mean, 0))
        varies = spread > 1e-6 * np.sqrt(self._square_sum / self._n_tokens)  # all of them but constants
        scale = np.where(varies, 1 / np.where(varies, spread, 1), 0)
        neurons = np.arange(len(mean))
        k = min(k, len(neurons) - 1)
        parts: list[pl.DataFrame] = []
        for first in range(0, len(neurons), ROWS):
            own = slice(first, first + ROWS)
            r = np.clip(self._covariances(own, mean) * scale[own, None] * scale, -1, 1)
            size = np.where(varies[own, None] & varies & (neurons[own, None] != neurons), np.abs(r), -1)
            others = np.argsort(-size, axis=1, kind="stable")[:, :k]
            columns = {
                "own": np.repeat(neurons[own], k),
                "rank": np.tile(np.arange(k), len(others)),
                "other": others.ravel(),
                "correlation": np.take_along_axis(r, others, axis=1).ravel(),
                "size": np.take_along_axis(size, others, axis=1).ravel(),
            }
            parts.append(pl.DataFrame(columns).filter(pl.col("size") > 0))
        per_layer = self.shape[1]
        return pl.concat(parts).select(
            "rank",
            "correlation",
            layer=pl.col("own") // per_layer,
            neuron=pl.col("own") % per_layer,
            other_layer=pl.col("other") // per_layer,
            other_neuron=pl.col("other") % per_layer,
            error=pl.lit(0.0 if self.is_exact else 1 / np.sqrt(self._products.shape[1])),
        )

    def _covariances(self, own: slice, mean: np.ndarray) -> np.ndarray:
        """Covariances [own, neurons] of some neurons with all."""
        if self.is_exact:
            return self._products[own] / self._n_tokens - mean[own, None] * mean
        centred = self._products - mean[:, None] * self._sign_sum
        return centred[own] @ centred.T / (self._n_tokens * self._products.shape[1])
