"""Statistics that several parts share: rank correlation and the interval of a share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]

_Z95 = 1.959963984540054


def wilson(successes: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share; `successes` may be fractional (ties count half)."""
    share = successes / n
    centre = share + _Z95**2 / (2 * n)
    spread = _Z95 * np.sqrt(share * (1 - share) / n + _Z95**2 / (4 * n * n))
    scale = 1 + _Z95**2 / n
    return float(max(0.0, (centre - spread) / scale)), float(min(1.0, (centre + spread) / scale))


def spearman(a: Floats, b: Floats) -> Floats:
    """Spearman's rho of every column of a with the same column of b, [n, columns] each; NaN where one is constant."""
    x, y = ranks(a), ranks(b)
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    scale = np.sqrt((x * x).sum(axis=0) * (y * y).sum(axis=0))
    constant = scale == 0
    return np.where(constant, np.nan, (x * y).sum(axis=0) / np.where(constant, 1, scale))


def ranks(values: Floats) -> Floats:
    """Rank of every entry within its column from 0; equal entries share their mean rank."""
    n = values.shape[0]
    order = np.argsort(values, axis=0, kind="stable")
    ordered = np.take_along_axis(values, order, axis=0)
    row: Ids = np.broadcast_to(np.arange(n, dtype=np.int64).reshape(-1, 1), values.shape)
    new = np.ones(values.shape, dtype=bool)
    new[1:] = ordered[1:] != ordered[:-1]
    first = np.maximum.accumulate(np.where(new, row, 0), axis=0)
    ends = np.ones(values.shape, dtype=bool)
    ends[:-1] = new[1:]
    last = np.minimum.accumulate(np.where(ends, row, n - 1)[::-1], axis=0)[::-1]
    out = np.empty(values.shape)
    np.put_along_axis(out, order, (first + last) / 2, axis=0)
    return out
