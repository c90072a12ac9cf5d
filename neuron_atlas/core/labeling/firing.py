"""Where a neuron fires, read off its exemplars: which tokens, what stands before them, which position.

Only exemplars that are not held out are read. A token counts as fired on when its activation reaches half of the text's
peak.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from neuron_atlas.core.labeling.evidence import Exemplar, PeakPosition
from neuron_atlas.core.labeling.lexicon import WINDOW
from neuron_atlas.core.records import Tables

SHOWN_EXEMPLARS = 6
FIRING_SHARE = 0.5
_MIN_BEFORE = 0.4
_MIN_LIFT = 2.0


@dataclass(frozen=True)
class Firing:
    """tokens: (token id, share of the summed activation), strongest first; before: (token id, share of exemplars) of tokens
    that stand within `WINDOW` before the peak at least twice as often as before any token; position: of the peaks;
    precision: of the occurrences of the strongest tokens (half the top token's share or more) in random and near-miss
    texts, the share on which the neuron fires."""

    tokens: tuple[tuple[int, float], ...] = ()
    before: tuple[tuple[int, float], ...] = ()
    position: PeakPosition | None = None
    precision: float | None = None
    exemplars: tuple[Exemplar, ...] = ()


def read_firing(here: Tables, before_rate: Mapping[int, float]) -> dict[tuple[int, int], Firing]:
    """Per (neuron, polarity) of one layer's tables; `before_rate` says how often a token stands before any position."""
    if "exemplars" not in here:
        return {}
    columns = ("neuron", "polarity", "kind", "tokens", "token_ids", "activations", "peak_position")
    rows = here["exemplars"].filter(~pl.col("is_held_out")).sort("corpus", "kind", "rank").select(columns).collect()
    tops: dict[tuple[int, int], list[Exemplar]] = defaultdict(list)
    others: dict[tuple[int, int], list[Exemplar]] = defaultdict(list)
    for neuron, polarity, kind, tokens, ids, activations, peak in rows.iter_rows():
        turned = tuple(a * polarity for a in activations)
        exemplar = Exemplar(tokens=tuple(tokens), token_ids=tuple(ids), activations=turned, peak=peak)
        if kind != "top":
            others[neuron, polarity].append(exemplar)
        elif turned[peak] > 0:
            tops[neuron, polarity].append(exemplar)
    return {key: _firing(exemplars, others[key], before_rate) for key, exemplars in tops.items()}


def _firing(exemplars: Sequence[Exemplar], others: Sequence[Exemplar], before_rate: Mapping[int, float]) -> Firing:
    fired: dict[int, float] = defaultdict(float)
    before, positions = Counter[int](), Counter[int]()
    for exemplar in exemplars:
        least = FIRING_SHARE * exemplar.activations[exemplar.peak]
        for token, activation in zip(exemplar.token_ids, exemplar.activations, strict=True):
            if activation >= least:
                fired[token] += activation
        before.update(set(exemplar.token_ids[max(0, exemplar.peak - WINDOW) : exemplar.peak]))
        positions[exemplar.peak] += 1
    total = sum(fired.values())
    shares = {token: n / len(exemplars) for token, n in before.items()}
    special = [
        (token, share)
        for token, share in shares.items()
        if share >= _MIN_BEFORE and share >= _MIN_LIFT * before_rate.get(token, 1.0)
    ]
    position, n = min(positions.items(), key=lambda item: (-item[1], item[0]))
    tokens = sorted(((t, a / total) for t, a in fired.items()), key=lambda t: (-t[1], t[0]))
    return Firing(
        tokens=tuple(tokens),
        before=tuple(sorted(special, key=lambda t: (-t[1] / before_rate.get(t[0], 1.0), t[0]))),
        position=PeakPosition(position=position, share=n / len(exemplars)),
        precision=_precision(exemplars, others, {t for t, share in tokens if share >= FIRING_SHARE * tokens[0][1]}),
        exemplars=tuple(exemplars[:SHOWN_EXEMPLARS]),
    )


def _precision(exemplars: Sequence[Exemplar], others: Sequence[Exemplar], tokens: set[int]) -> float | None:
    peaks = sorted(exemplar.activations[exemplar.peak] for exemplar in exemplars)
    least = FIRING_SHARE * peaks[len(peaks) // 2]
    found = [
        activation >= least
        for text in others
        for token, activation in zip(text.token_ids, text.activations, strict=True)
        if token in tokens
    ]
    return sum(found) / len(found) if found else None
