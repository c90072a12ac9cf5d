"""Correlations and shares of many prompts, each with its 95 % interval.

A correlation is taken within each prompt, so that prompts with large effects do not carry it, and averaged over prompts. A
share is a ratio of means over prompts (a mean of ratios would be ruled by prompts whose full effect is near 0). Intervals come
from resampling prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuron_atlas.core import statistics

Floats = NDArray[np.float64]

RESAMPLES = 1000
"""Bootstrap resamples behind an interval."""
FEWEST = 3
"""Fewest pairs of which a correlation is taken."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its 95 % interval; the ends are None with a single prompt."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class EffectComparison:
    """One prompt's interventions: what each method predicted and what was measured, [n] each, in logits of the goal or units of a
    target's value."""

    predicted: Mapping[str, Floats]
    measured: Floats


def pearson(x: Floats, y: Floats) -> float | None:
    """Linear correlation; None for fewer than `FEWEST` pairs or where one side is constant."""
    if len(x) < FEWEST:
        return None
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(np.clip(x @ y / size, -1.0, 1.0)) if size > 0 else None


def spearman(x: Floats, y: Floats) -> float | None:
    """Rank correlation, ties at their mean rank; None as for `pearson`."""
    if len(x) < FEWEST:
        return None
    (value,) = statistics.spearman(x[:, None], y[:, None])
    return None if np.isnan(value) else float(np.clip(value, -1.0, 1.0))


def mean_of(values: Sequence[float | None], *, seed: int) -> Estimate | None:
    """The mean over prompts of what is known; None when nothing is."""
    known = np.array([value for value in values if value is not None])
    return None if not len(known) else _resampled(known, np.ones_like(known), seed)


def share_of(parts: Floats, wholes: Floats, *, seed: int) -> Estimate | None:
    """mean(parts) / mean(wholes) over prompts; None where the mean whole is 0 or there is no prompt."""
    if not len(parts) or float(wholes.mean()) == 0.0:
        return None
    return _resampled(parts, wholes, seed)


def _resampled(parts: Floats, wholes: Floats, seed: int) -> Estimate:
    value = float(parts.mean() / wholes.mean())
    if len(parts) < 2:
        return Estimate(value, None, None)
    drawn = np.random.default_rng(seed).integers(len(parts), size=(RESAMPLES, len(parts)))
    above, below = parts[drawn].mean(axis=1), wholes[drawn].mean(axis=1)
    ratios = above[below != 0] / below[below != 0]
    low, high = np.quantile(ratios, [0.025, 0.975])
    return Estimate(value, float(low), float(high))
