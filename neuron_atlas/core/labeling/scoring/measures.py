"""The numbers behind a score: average precision with ties, correlation from sums, intervals.

Bootstrap intervals resample whole items (texts, distractors) by weights, so that one matrix product gives all resamples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RESAMPLES = 200


@dataclass(frozen=True, slots=True)
class Measured:
    """A value with its 95 % interval, over n items."""

    value: float
    low: float
    high: float
    n: int


def average_precision(scores: Floats, is_positive: NDArray[np.bool_], weights: Floats) -> Floats:
    """Area under the precision-recall curve, once per row of `weights` [R, items] (how often an item counts).

    Items of equal score enter together, so a constant score gives the share of positives, not luck. Rows without positives
    give 0.
    """
    levels, level = np.unique(-scores, return_inverse=True)
    at = np.zeros((len(scores), len(levels)))
    at[np.arange(len(scores)), level] = 1.0
    positives = (weights * is_positive) @ at
    everyone = weights @ at
    found, seen = positives.cumsum(axis=1), everyone.cumsum(axis=1)
    precision = np.divide(found, seen, out=np.zeros_like(found), where=seen > 0)
    total = found[:, -1]
    return np.divide((positives * precision).sum(axis=1), total, out=np.zeros_like(total), where=total > 0)


def correlation(sums: Floats) -> Floats:
    """Pearson's r per row of sums [R, 6]: n, x, y, xx, yy, xy. 0 where x or y is constant."""
    n, x, y, xx, yy, xy = sums.T
    var_x, var_y = np.maximum(n * xx - x * x, 0.0), np.maximum(n * yy - y * y, 0.0)
    scale = np.sqrt(var_x * var_y)
    is_flat = scale <= 1e-12 * np.maximum(n * n, 1.0)
    return np.where(is_flat, 0.0, (n * xy - x * y) / np.where(is_flat, 1.0, scale))


def pair_sums(x: Floats, y: Floats) -> Floats:
    """The sums that `correlation` needs, [6]."""
    return np.array([len(x), x.sum(), y.sum(), x @ x, y @ y, x @ y])


def resample(rng: np.random.Generator, n: int) -> Floats:
    """[RESAMPLES, n]: how often each of n items is drawn, with replacement."""
    return rng.multinomial(n, np.full(n, 1.0 / n), size=RESAMPLES).astype(np.float64)


def interval(values: Floats, axis: int = 0) -> tuple[Floats, Floats]:
    """2.5 % and 97.5 % quantiles along an axis."""
    low, high = np.quantile(values, [0.025, 0.975], axis=axis)
    return low, high
