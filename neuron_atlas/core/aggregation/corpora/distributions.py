"""How a neuron's activations are distributed: moments, extremes, histogram, density, quantiles, over any number of tokens.

**Histogram.** Bins are quarter octaves of |x|, signed: edges 2**e * {1, 1.25, 1.5, 1.75} from 2**-12 to 2**12, and one bin around
zero. Sign, exponent and two bits of the mantissa of a float32 *are* that bin number, so counting costs a shift. A bin holds
its edge that is farther from zero.

**Active.** A token counts as active when |x| exceeds the neuron's threshold: the largest bin edge not above a tenth of its largest
|x|. Being an edge, it is counted exactly although it is known only at the end.

**Quantiles** are observed values: the smallest with at least that share of tokens at or below it. Exact while all activations are
at hand. Otherwise exact within the kept extremes (the tails), and interpolated inside their bin, an eighth of the value at
most, in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neuron_atlas.core.ports import Array
from neuron_atlas.core.tables import QUANTILE_LEVELS

LOW_EXPONENT, HIGH_EXPONENT = -12, 12
SIDE = 4 * (HIGH_EXPONENT - LOW_EXPONENT)
"""Bins on either side of the one around zero."""
N_BINS = 2 * SIDE + 1
MAGNITUDES = np.array([2.0 ** (LOW_EXPONENT + j // 4) * (1 + (j % 4) / 4) for j in range(SIDE + 1)], dtype=np.float32)
"""Edges of |x|: [SIDE + 1]."""
EDGES = np.concatenate([-MAGNITUDES[::-1], MAGNITUDES])
"""Signed edges: [N_BINS + 1]."""
ACTIVE_SHARE = 0.1
"""The threshold of being active lies at or just below this share of the largest |activation|."""


def bin_of(x: Array) -> NDArray[np.int32]:
    """The number of the bin that holds every value, 0 .. N_BINS - 1, in the order of the values."""
    bits = x.view(np.int32)
    size = ((bits & 0x7FFFFFFF) - 1) >> 21
    size -= ((127 + LOW_EXPONENT) << 2) - 1
    np.clip(size, 0, SIDE, out=size)
    return SIDE + np.where(bits < 0, -size, size)


_STATE = ("sum", "square_sum", "low", "high", "counts", "lowest", "highest")
"""What is kept of all blocks, beside the blocks themselves."""


class Distributions:
    """Running statistics of [L, I] neurons; `add` blocks of activations [L, tokens, I], then take the `frame`.

    `blocks` holds what was added, in order, while it fits into `memory_bytes`; then it becomes None and extremes are kept instead:
    as many as fit into half of that, at least 16 and at most 4096 at either end.
    """

    def __init__(self, shape: tuple[int, int], *, memory_bytes: int) -> None:
        self.shape = shape
        self.blocks: list[Array] | None = []
        self._memory = memory_bytes
        self._n_tokens = 0
        self._sum = np.zeros(shape)
        self._square_sum = np.zeros(shape)
        self._low = np.full(shape, np.inf, np.float32)
        self._high = np.full(shape, -np.inf, np.float32)
        self._counts = np.zeros((*shape, N_BINS), np.int32)
        self._lowest = np.zeros((shape[0], 0, shape[1]), np.float32)
        self._highest = np.zeros((shape[0], 0, shape[1]), np.float32)

    def add(self, block: Array) -> None:
        """Count a block [L, tokens, I] of finite values."""
        n_layers, n_neurons = self.shape
        self._n_tokens += block.shape[1]
        self._sum += block.sum(axis=1, dtype=np.float64)
        self._square_sum += np.square(block, dtype=np.float64).sum(axis=1)
        np.minimum(self._low, block.min(axis=1), out=self._low)
        np.maximum(self._high, block.max(axis=1), out=self._high)
        offset = np.arange(n_neurons, dtype=np.int32) * N_BINS
        for layer in range(n_layers):
            where = (bin_of(block[layer]) + offset).ravel()
            self._counts[layer] += np.bincount(where, minlength=n_neurons * N_BINS).reshape(n_neurons, N_BINS)
        if self.blocks is None:
            self._keep_extremes(block)
        else:
            self.blocks.append(block)
            if sum(b.nbytes for b in self.blocks) > self._memory:
                for earlier in self.blocks:
                    self._keep_extremes(earlier)
                self.blocks = None

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything counted so far."""
        kept = {name: getattr(self, f"_{name}") for name in _STATE} | {"n_tokens": np.array(self._n_tokens)}
        if self.blocks is None:
            return kept
        blocks = {f"block{number}": block for number, block in enumerate(self.blocks)}
        return kept | blocks | {"n_blocks": np.array(len(blocks))}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from what `state` returned."""
        for name in _STATE:
            setattr(self, f"_{name}", state[name])
        self._n_tokens = int(state["n_tokens"])
        n_blocks = state.get("n_blocks")
        self.blocks = None if n_blocks is None else [state[f"block{number}"] for number in range(int(n_blocks))]

    def _keep_extremes(self, block: Array) -> None:
        """Keep the smallest and the largest values of the block and those kept so far."""
        keep = int(np.clip(self._memory // (16 * self.shape[0] * self.shape[1]), 16, 4096))
        low, high = (np.concatenate([kept, block], axis=1) for kept in (self._lowest, self._highest))
        if low.shape[1] > keep:
            low = np.partition(low, keep - 1, axis=1)[:, :keep]
            high = np.partition(high, high.shape[1] - keep, axis=1)[:, -keep:]
        self._lowest, self._highest = low, high

    def frame(self) -> pl.DataFrame:
        """The columns of table `activation_stats` but for `corpus`."""
        n_layers, n_neurons = self.shape
        mean = self._sum / self._n_tokens
        spread = np.sqrt(np.maximum(self._square_sum / self._n_tokens - mean * mean, 0))
        reach = np.maximum(np.abs(self._low), np.abs(self._high))
        edge = np.maximum(np.searchsorted(MAGNITUDES, ACTIVE_SHARE * reach, side="right") - 1, 0)
        bins = np.arange(N_BINS) - SIDE
        above = (self._counts * (bins > edge[..., None])).sum(axis=2)
        below = (self._counts * (bins < -edge[..., None])).sum(axis=2)
        edges, counts = self._histograms()
        flat = {
            "layer": np.repeat(np.arange(n_layers), n_neurons),
            "neuron": np.tile(np.arange(n_neurons), n_layers),
            "n_tokens": np.full(n_layers * n_neurons, self._n_tokens),
            "mean": mean.ravel(),
            "std": spread.ravel(),
            "minimum": self._low.ravel(),
            "maximum": self._high.ravel(),
            "active_threshold": MAGNITUDES[edge].ravel(),
            "density_positive": above.ravel() / self._n_tokens,
            "density_negative": below.ravel() / self._n_tokens,
            "quantiles": list(self._quantiles().reshape(-1, len(QUANTILE_LEVELS))),
            "histogram_edges": edges,
            "histogram_counts": counts,
        }
        return pl.DataFrame(flat)

    def _histograms(self) -> tuple[list[Array], list[NDArray[np.int64]]]:
        """Edges and counts per neuron from its first to its last filled bin; the outermost edge reaches the extreme value."""
        edges: list[Array] = []
        counts: list[NDArray[np.int64]] = []
        flat = self._counts.reshape(-1, N_BINS)
        for row, low, high in zip(flat, self._low.ravel(), self._high.ravel(), strict=True):
            filled = np.flatnonzero(row)
            first, last = int(filled[0]), int(filled[-1])
            own = EDGES[first : last + 2].copy()
            own[0], own[-1] = min(own[0], low), max(own[-1], high)
            edges.append(own)
            counts.append(row[first : last + 1].astype(np.int64))
        return edges, counts

    def _quantiles(self) -> Array:
        """[L, I, levels]."""
        ranks = quantile_ranks(self._n_tokens)
        out = np.empty((*self.shape, len(ranks)), np.float32)
        if self.blocks is not None:
            for layer in range(self.shape[0]):
                values = np.concatenate([block[layer].T for block in self.blocks], axis=1)
                values.sort(axis=1)
                out[layer] = values[:, ranks]
            return out
        low, high = np.sort(self._lowest, axis=1), np.sort(self._highest, axis=1)
        for i, rank in enumerate(ranks):
            from_end = self._n_tokens - 1 - rank
            if rank < low.shape[1]:
                out[..., i] = low[:, rank]
            elif from_end < high.shape[1]:
                out[..., i] = high[:, -1 - from_end]
            else:
                out[..., i] = self._interpolated(rank)
        return out

    def _interpolated(self, rank: int) -> Array:
        """The value of a rank, by straight line through its bin: [L, I]."""
        upto = np.cumsum(self._counts, axis=2)
        at = (upto <= rank).sum(axis=2)
        before = np.take_along_axis(upto - self._counts, at[..., None], axis=2)[..., 0]
        inside = np.take_along_axis(self._counts, at[..., None], axis=2)[..., 0]
        share = (rank - before + 0.5) / inside
        value = EDGES[at] + share * (EDGES[at + 1] - EDGES[at])
        return np.clip(value, self._low, self._high).astype(np.float32)


def quantile_ranks(n: int) -> list[int]:
    """For every level of QUANTILE_LEVELS the rank, from 0, of the smallest of n sorted values that covers it."""
    return [min(n - 1, max(0, int(np.ceil(level * n * (1 - 1e-12))) - 1)) for level in QUANTILE_LEVELS]
