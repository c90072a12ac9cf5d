"""How far two clusterings of the same things agree: adjusted mutual information (Vinh, Epps & Bailey 2010, JMLR 11).

1 is the same clustering, 0 what chance gives for clusters of these sizes. The expected mutual information is summed over pairs of
distinct cluster sizes, with log factorials from a table.
"""

from __future__ import annotations

from itertools import product
from math import lgamma, log

import numpy as np
from numpy.typing import NDArray

_Labels = NDArray[np.int64]


def adjusted_mutual_information(one: _Labels, two: _Labels) -> float:
    """AMI of two labelings [things], normalised by the mean entropy; 1 where both put everything together, or all apart."""
    n = len(one)
    if n == 0:
        return 1.0
    _, a = np.unique(one, return_inverse=True)
    _, b = np.unique(two, return_inverse=True)
    sizes_a, sizes_b = np.bincount(a), np.bincount(b)
    cells, both = np.unique(a.astype(np.int64) * len(sizes_b) + b, return_counts=True)
    expected_sizes = sizes_a[cells // len(sizes_b)] * sizes_b[cells % len(sizes_b)]
    mutual = float((both / n * np.log(both * n / expected_sizes)).sum())
    entropies = [float(-(s / n * np.log(s / n)).sum()) for s in (sizes_a, sizes_b)]
    expected, mean = _expected_mutual_information(sizes_a, sizes_b, n), sum(entropies) / 2
    return (mutual - expected) / (mean - expected) if mean - expected > 1e-12 else 1.0


def _expected_mutual_information(sizes_a: _Labels, sizes_b: _Labels, n: int) -> float:
    f = np.array([lgamma(k + 1) for k in range(n + 1)])
    total = 0.0
    for (x, times_x), (y, times_y) in product(_counted(sizes_a), _counted(sizes_b)):
        k = np.arange(max(1, x + y - n), min(x, y) + 1)
        chance = np.exp(f[x] + f[y] + f[n - x] + f[n - y] - f[n] - f[k] - f[x - k] - f[y - k] - f[n - x - y + k])
        total += times_x * times_y * float((k / n * (np.log(k) + log(n) - log(x) - log(y)) * chance).sum())
    return total


def _counted(sizes: _Labels) -> list[tuple[int, int]]:
    """Every distinct size, and how many clusters have it."""
    distinct, counts = np.unique(sizes, return_counts=True)
    return [(int(size), int(count)) for size, count in zip(distinct, counts, strict=True)]
