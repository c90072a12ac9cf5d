"""Where a neuron fires, read off its exemplars: which tokens, what stands before them, which position.

Only exemplars that are not held out are read. A token counts as fired on when its activation reaches half of the median
peak of the top texts, wherever it stands: top texts alone would name only the strongest of several tokens. What stands
before the peak is compared with what stands before the same tokens in texts where the neuron stays low (random texts and
near misses): the difference is what the token alone does not say.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from neuron_atlas.core.labeling.evidence.evidence_record import Exemplar, PeakPosition
from neuron_atlas.core.labeling.evidence.lexicon import WINDOW, binomial_tail
from neuron_atlas.core.records import Tables

SHOWN_EXEMPLARS = 8
SHOWN_OTHERS = 8
FIRING_SHARE = 0.5
_MIN_BEFORE = 0.4
_P_BEFORE = 0.05


@dataclass(frozen=True)
class Firing:
    """tokens: (token id, share of the summed activation), strongest first; before: (token id, share of exemplars) of tokens
    that stand within `WINDOW` before the peak, more often than chance would put them there, largest difference first;
    position: of the peaks; precision: of the occurrences of the strongest tokens (half the top token's share or more) in
    random texts, the share on which the neuron fires, missing when they do not occur; near_misses: occurrences of these
    tokens, in any text that is not a top one, that leave the neuron low."""

    tokens: tuple[tuple[int, float], ...] = ()
    before: tuple[tuple[int, float], ...] = ()
    position: PeakPosition | None = None
    precision: float | None = None
    near_misses: int = 0
    exemplars: tuple[Exemplar, ...] = ()
    others: tuple[Exemplar, ...] = ()


def read_firing(here: Tables, before_rate: Mapping[int, float]) -> dict[tuple[int, int], Firing]:
    """Per (neuron, polarity) of one layer's tables; `before_rate` says how often a token stands before any position."""
    if "exemplars" not in here:
        return {}
    columns = ("neuron", "polarity", "kind", "tokens", "token_ids", "activations", "peak_position")
    rows = here["exemplars"].filter(~pl.col("is_held_out")).sort("corpus", "kind", "rank").select(columns).collect()
    found: dict[tuple[int, int], dict[str, list[Exemplar]]] = defaultdict(lambda: defaultdict(list))
    for neuron, polarity, kind, tokens, ids, activations, peak in rows.iter_rows():
        turned = tuple(a * polarity for a in activations)
        if kind != "top" or turned[peak] > 0:
            exemplar = Exemplar(tokens=tuple(tokens), token_ids=tuple(ids), activations=turned, peak=peak)
            found[neuron, polarity][kind].append(exemplar)
    return {key: _firing(kinds, before_rate) for key, kinds in found.items() if kinds["top"]}


def _firing(kinds: Mapping[str, Sequence[Exemplar]], before_rate: Mapping[int, float]) -> Firing:
    tops = kinds["top"]
    peaks = sorted(exemplar.activations[exemplar.peak] for exemplar in tops)
    least = FIRING_SHARE * peaks[len(peaks) // 2]
    fired: dict[int, float] = defaultdict(float)
    for text in (text for texts in kinds.values() for text in texts):
        for token, activation in zip(text.token_ids, text.activations, strict=True):
            if activation >= least:
                fired[token] += activation
    total = sum(fired.values())
    tokens = sorted(((t, a / total) for t, a in fired.items()), key=lambda t: (-t[1], t[0]))
    strongest = {t for t, share in tokens if share >= FIRING_SHARE * tokens[0][1]}
    positions = Counter(exemplar.peak for exemplar in tops)
    low = [at for kind, texts in kinds.items() if kind != "top" for at in _occurrences(texts, strongest, below=least)]
    random = _occurrences(kinds.get("random", ()), strongest)
    position, n = min(positions.items(), key=lambda item: (-item[1], item[0]))
    return Firing(
        tokens=tuple(tokens),
        before=_special_before(tops, low, before_rate),
        position=PeakPosition(position=position, share=n / len(tops)),
        precision=sum(text.activations[at] >= least for text, at in random) / len(random) if random else None,
        near_misses=len(low),
        exemplars=tuple(tops[:SHOWN_EXEMPLARS]),
        others=tuple((*kinds.get("hard_negative", ()), *kinds.get("random", ())))[:SHOWN_OTHERS],
    )


def _occurrences(
    texts: Sequence[Exemplar], tokens: set[int], *, below: float = float("inf")
) -> list[tuple[Exemplar, int]]:
    """Where the tokens stand in the texts with an activation under a limit."""
    return [
        (text, at)
        for text in texts
        for at, (token, activation) in enumerate(zip(text.token_ids, text.activations, strict=True))
        if token in tokens and activation < below
    ]


def _special_before(
    tops: Sequence[Exemplar], low: Sequence[tuple[Exemplar, int]], before_rate: Mapping[int, float]
) -> tuple[tuple[int, float], ...]:
    shares = _before_shares([(text, text.peak) for text in tops])
    elsewhere = _before_shares(low)
    special: list[tuple[float, int, float]] = []
    for token, share in shares.items():
        usual = max(elsewhere.get(token, 0.0), before_rate.get(token, 0.0), 0.5 / (len(low) + 1))
        by_chance = binomial_tail(round(share * len(tops)), len(tops), min(1.0, usual))
        if share >= _MIN_BEFORE and share > usual and by_chance < _P_BEFORE:
            special.append((usual - share, token, share))
    return tuple((token, share) for _, token, share in sorted(special))


def _before_shares(places: Sequence[tuple[Exemplar, int]]) -> dict[int, float]:
    """Share of the places that have a token within `WINDOW` before them."""
    counts = Counter(token for text, at in places for token in set(text.token_ids[max(0, at - WINDOW) : at]))
    return {token: n / len(places) for token, n in counts.items()}
