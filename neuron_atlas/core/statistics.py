"""Statistics that several parts share: ranks and rank correlation, the interval of a share, cumulative shares."""

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
    from scipy.stats import rankdata  # most of a second to import: only where ranks are taken

    return np.asarray(rankdata(values, axis=0), np.float64) - 1


def cumulative_share(values: Floats) -> Floats:
    """Of every value, the share of the total that it and all larger ones hold together, 0..1 (equal ones in their order); 1
    where all are 0. Values are not negative. A graph ranks its nodes by influence so."""
    order = np.argsort(-values, kind="stable")
    held = np.cumsum(values[order])
    shares = np.ones_like(values)
    if len(held) and held[-1] > 0:
        shares[order] = np.minimum(held / held[-1], 1.0)
    return shares
