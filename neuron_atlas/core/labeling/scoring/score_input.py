"""Scores of input labels on held-out texts: does the label tell when the neuron fires?

- **detection**: which texts fire it? Average precision of the simulated peak, over held-out top, random and near-miss texts.
- **fuzzing**: which tokens in a firing text? Share of (fired, not fired) token pairs that the simulator orders rightly.
- **simulation**: how strongly, token by token? Pearson's r over all tokens of all held-out texts, near misses included.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neuron_atlas.core.labeling.evidence.firing import FIRING_SHARE
from neuron_atlas.core.labeling.scoring.activation_simulator import FlatTexts
from neuron_atlas.core.labeling.scoring.measures import (
    RESAMPLES,
    Floats,
    Measured,
    average_precision,
    correlation,
    interval,
    pair_sums,
    resample,
)
from neuron_atlas.core.statistics import wilson

MIN_TEXTS = 2
"""Held-out texts needed on each side (firing, not firing) before anything is measured."""


@dataclass(frozen=True)
class HeldOut:
    """One neuron's held-out texts and which of them fire it: those whose peak reaches half of the median peak of its held-out
    top texts."""

    texts: FlatTexts
    fires: Floats

    @classmethod
    def of(cls, texts: FlatTexts) -> HeldOut | None:
        """None when there is too little to measure."""
        peaks = texts.peaks(texts.activations)
        tops = peaks[np.array([kind == "top" for kind in texts.kinds])]
        if len(tops) < MIN_TEXTS or not np.median(tops) > 0:
            return None
        fires = (peaks >= FIRING_SHARE * np.median(tops)).astype(np.float64)
        return cls(texts, fires) if fires.sum() >= MIN_TEXTS and (1 - fires).sum() >= MIN_TEXTS else None


def detection(held: HeldOut, simulated: Floats, rng: np.random.Generator | None) -> Measured:
    """Average precision over texts; without `rng` no interval is drawn."""
    scores, fires = held.texts.peaks(simulated), held.fires > 0
    value = float(average_precision(scores, fires, np.ones((1, len(scores))))[0])
    if rng is None:
        return Measured(value, value, value, len(scores))
    weights = np.zeros((RESAMPLES, len(scores)))
    for part in (fires, ~fires):
        weights[:, part] = resample(rng, int(part.sum()))
    low, high = interval(average_precision(scores, fires, weights))
    return Measured(value, float(low), float(high), len(scores))


def fuzzing(held: HeldOut, simulated: Floats) -> Measured | None:
    """Mean over firing texts of P(simulated fired token > other token), ties one half; chance is 0.5."""
    shares: list[float] = []
    for span, fires in zip(held.texts.spans, held.fires, strict=True):
        activations, predicted = held.texts.activations[span], simulated[span]
        fired = activations >= FIRING_SHARE * activations.max()
        if fires and fired.any() and not fired.all():
            shares.append(_pair_share(predicted[fired], predicted[~fired]))
    if len(shares) < MIN_TEXTS:
        return None
    low, high = wilson(sum(shares), len(shares))
    return Measured(sum(shares) / len(shares), low, high, len(shares))


def simulation(held: HeldOut, simulated: Floats, rng: np.random.Generator | None) -> Measured:
    """Pearson's r between simulated and actual activation over all tokens; texts are what is resampled."""
    value = float(correlation(pair_sums(simulated, held.texts.activations)[None])[0])
    n = len(held.fires)
    if rng is None:
        return Measured(value, value, value, n)
    sums = np.stack([pair_sums(simulated[span], held.texts.activations[span]) for span in held.texts.spans])
    low, high = interval(correlation(resample(rng, n) @ sums))
    return Measured(value, float(low), float(high), n)


def _pair_share(fired: Floats, other: Floats) -> float:
    difference = fired[:, None] - other[None, :]
    return float((np.sign(difference) / 2 + 0.5).mean())
