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


class Distributions:
    """Running statistics of [L, I] neurons; `add` blocks of activations [L, tokens, I], then take the `frame`."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self.n_tokens = 0
        self.sum = np.zeros(shape)
        self.square_sum = np.zeros(shape)
        self.low = np.full(shape, np.inf, np.float32)
        self.high = np.full(shape, -np.inf, np.float32)
        self.counts = np.zeros((*shape, N_BINS), np.int32)
        self.lowest: Array | None = None
        self.highest: Array | None = None

    def add(self, block: Array) -> None:
        """Count a block [L, tokens, I]."""
        n_layers, n_neurons = self.shape
        self.n_tokens += block.shape[1]
        self.sum += block.sum(axis=1, dtype=np.float64)
        self.square_sum += np.einsum("lti,lti->li", block, block, dtype=np.float64)
        np.minimum(self.low, block.min(axis=1), out=self.low)
        np.maximum(self.high, block.max(axis=1), out=self.high)
        offset = np.arange(n_neurons, dtype=np.int32) * N_BINS
        for layer in range(n_layers):
            where = (bin_of(block[layer]) + offset).ravel()
            self.counts[layer] += np.bincount(where, minlength=n_neurons * N_BINS).reshape(n_neurons, N_BINS)

    def add_extremes(self, block: Array, *, budget: int) -> None:
        """Keep the block's smallest and largest values among those kept so far; `budget` bytes bound how many."""
        keep = int(np.clip(budget // (8 * self.shape[0] * self.shape[1]), 16, 4096))
        low = block if self.lowest is None else np.concatenate([self.lowest, block], axis=1)
        high = block if self.highest is None else np.concatenate([self.highest, block], axis=1)
        if low.shape[1] > keep:
            low = np.partition(low, keep - 1, axis=1)[:, :keep]
        if high.shape[1] > keep:
            high = np.partition(high, high.shape[1] - keep, axis=1)[:, -keep:]
        self.lowest, self.highest = low, high

    def frame(self, whole: Array | None) -> pl.DataFrame:
        """Columns of table `activation_stats` but corpus. `whole` [L, tokens, I] makes the quantiles exact."""
        n_layers, n_neurons = self.shape
        mean = self.sum / self.n_tokens
        spread = np.sqrt(np.maximum(self.square_sum / self.n_tokens - mean * mean, 0))
        reach = np.maximum(np.abs(self.low), np.abs(self.high))
        edge = np.maximum(np.searchsorted(MAGNITUDES, ACTIVE_SHARE * reach, side="right") - 1, 0)
        bins = np.arange(N_BINS) - SIDE
        above = (self.counts * (bins > edge[..., None])).sum(axis=2)
        below = (self.counts * (bins < -edge[..., None])).sum(axis=2)
        edges, counts = self._histograms()
        flat = {
            "layer": np.repeat(np.arange(n_layers), n_neurons),
            "neuron": np.tile(np.arange(n_neurons), n_layers),
            "n_tokens": np.full(n_layers * n_neurons, self.n_tokens),
            "mean": mean.ravel(),
            "std": spread.ravel(),
            "minimum": self.low.ravel(),
            "maximum": self.high.ravel(),
            "active_threshold": MAGNITUDES[edge].ravel(),
            "density_positive": above.ravel() / self.n_tokens,
            "density_negative": below.ravel() / self.n_tokens,
            "quantiles": list(self._quantiles(whole).reshape(-1, len(QUANTILE_LEVELS))),
            "histogram_edges": edges,
            "histogram_counts": counts,
        }
        return pl.DataFrame(flat)

    def _histograms(self) -> tuple[list[Array], list[NDArray[np.int64]]]:
        """Edges and counts per neuron from its first to its last filled bin; the outermost edge reaches the extreme value."""
        edges: list[Array] = []
        counts: list[NDArray[np.int64]] = []
        flat = self.counts.reshape(-1, N_BINS)
        for row, low, high in zip(flat, self.low.ravel(), self.high.ravel(), strict=True):
            filled = np.flatnonzero(row)
            first, last = int(filled[0]), int(filled[-1])
            own = EDGES[first : last + 2].copy()
            own[0], own[-1] = min(own[0], low), max(own[-1], high)
            edges.append(own)
            counts.append(row[first : last + 1].astype(np.int64))
        return edges, counts

    def _quantiles(self, whole: Array | None) -> Array:
        """[L, I, levels]."""
        ranks = quantile_ranks(self.n_tokens)
        if whole is not None:
            wanted = sorted(set(ranks))
            place = [wanted.index(r) for r in ranks]
            layers = [np.partition(layer, wanted, axis=0)[wanted] for layer in whole]
            return np.stack(layers)[:, place].transpose(0, 2, 1)
        if self.lowest is None or self.highest is None:
            raise ValueError("extremes are needed where not all activations are kept")
        low, high = np.sort(self.lowest, axis=1), np.sort(self.highest, axis=1)
        out = np.empty((*self.shape, len(ranks)), np.float32)
        for i, rank in enumerate(ranks):
            from_end = self.n_tokens - 1 - rank
            if rank < low.shape[1]:
                out[..., i] = low[:, rank]
            elif from_end < high.shape[1]:
                out[..., i] = high[:, -1 - from_end]
            else:
                out[..., i] = self._interpolated(rank)
        return out

    def _interpolated(self, rank: int) -> Array:
        """The value of a rank, by straight line through its bin: [L, I]."""
        upto = np.cumsum(self.counts, axis=2)
        at = (upto <= rank).sum(axis=2)
        before = np.take_along_axis(upto - self.counts, at[..., None], axis=2)[..., 0]
        inside = np.take_along_axis(self.counts, at[..., None], axis=2)[..., 0]
        share = (rank - before + 0.5) / inside
        value = EDGES[at] + share * (EDGES[at + 1] - EDGES[at])
        return np.clip(value, self.low, self.high).astype(np.float32)


def quantile_ranks(n: int) -> list[int]:
    """For every level of QUANTILE_LEVELS the rank, from 0, of the smallest of n sorted values that covers it."""
    return [min(n - 1, max(0, int(np.ceil(level * n * (1 - 1e-12))) - 1)) for level in QUANTILE_LEVELS]
