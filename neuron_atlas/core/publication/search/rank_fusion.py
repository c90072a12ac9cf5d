"""Two rankings become one by reciprocal rank (Cormack, Clarke & Büttcher 2009): a hit earns 1 / (60 + place) in each list that
has it. Places, not scores, since a cosine and a BM25 have no common unit. Equal scores share a place: hundreds of neurons may
have the same label, and none of them deserves to come later for its number.

A place does not say how little it took to get there: the first by words may hold one word of six, or a longer word that begins with
it. So only what holds at least `SHARE_WHOLE` of the question's words takes part in the ranking by words that is merged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from neuron_atlas.core.publication.search.records import Hit

K = 60
"""How much the first places stand out; the value of the paper."""
SHARE_WHOLE = 0.5
"""Chosen on half of the questions of benchmarks/search_quality.py."""
Key = tuple[int, int, int, str, str]


def merged(by_meaning: Sequence[Hit], by_words: Sequence[Hit], *, limit: int) -> tuple[Hit, ...]:
    """The best `limit` hits of both lists (each best first), with the scores of both; ties in the order of layer and neuron."""
    earned: dict[Key, float] = {}
    known: dict[Key, Hit] = {}
    for hits, score in ((by_meaning, _similarity), (by_words, _words_score)):
        for hit, place in zip(hits, places([score(hit) for hit in hits]), strict=True):
            earned[hit.key] = earned.get(hit.key, 0.0) + 1 / (K + place)
            before = known.get(hit.key, hit)
            known[hit.key] = replace(
                hit,
                similarity=_first(before.similarity, hit.similarity),
                words_score=_first(before.words_score, hit.words_score),
            )
    best = sorted(known, key=lambda key: (-earned[key], key))
    return tuple(known[key] for key in best[:limit])


def depth(limit: int) -> int:
    """How many hits of each list to merge for `limit` of both: what one list has far down, the other may have first."""
    return max(limit, 100)


def places(scores: Sequence[float]) -> list[int]:
    """The place of each score in a list that falls: 1 for the first, the same for what is equal to six digits."""
    found: list[int] = []
    for i, score in enumerate(scores):
        same = i > 0 and abs(score - scores[i - 1]) <= 1e-6 * max(1.0, abs(score))
        found.append(found[-1] if same else i + 1)
    return found


def _similarity(hit: Hit) -> float:
    return hit.similarity or 0.0


def _words_score(hit: Hit) -> float:
    return hit.words_score or 0.0


def _first(one: float | None, other: float | None) -> float | None:
    return other if one is None else one
