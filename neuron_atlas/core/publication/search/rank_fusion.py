"""Two rankings become one by reciprocal rank (Cormack, Clarke & Büttcher 2009): a hit scores 1 / (60 + rank) in each list that
has it. Ranks, not scores, since a cosine and a BM25 have no common unit. Equal scores share a rank: hundreds of neurons may
have the same label, and none of them deserves to come later for its number.

A rank does not say how little it took to get there: the first by words may hold one word of six, or a longer word that begins with
it. So only what holds at least `SHARE_WHOLE` of the query's words takes part in the ranking by words that is fused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from neuron_atlas.core.publication.search.label_records import LabelKey
from neuron_atlas.core.publication.search.search_result import Hit

K = 60
"""How much the first ranks stand out; the value of the paper."""
SHARE_WHOLE = 0.5
"""Chosen on half of the questions of benchmarks/search_quality.py."""


def fuse_rankings(by_meaning: Sequence[Hit], by_words: Sequence[Hit], *, limit: int) -> tuple[Hit, ...]:
    """The best `limit` hits of both lists (each best first), with the scores of both; ties in the order of layer and neuron."""
    fused: dict[LabelKey, float] = {}
    hit_of: dict[LabelKey, Hit] = {}
    for hits, score in ((by_meaning, _similarity), (by_words, _words_score)):
        for hit, rank in zip(hits, tied_ranks([score(hit) for hit in hits]), strict=True):
            fused[hit.key] = fused.get(hit.key, 0.0) + 1 / (K + rank)
            before = hit_of.get(hit.key, hit)
            hit_of[hit.key] = replace(
                hit,
                similarity=_first(before.similarity, hit.similarity),
                words_score=_first(before.words_score, hit.words_score),
            )
    best = sorted(hit_of, key=lambda key: (-fused[key], key))
    return tuple(hit_of[key] for key in best[:limit])


def fusion_depth(limit: int) -> int:
    """How many hits of each list to fuse for `limit` of both: what one list has far down, the other may have first."""
    return max(limit, 100)


def tied_ranks(scores: Sequence[float]) -> list[int]:
    """The rank of each score in a falling list: 1 for the first, the same for what is equal to six digits."""
    ranks: list[int] = []
    for i, score in enumerate(scores):
        same = i > 0 and abs(score - scores[i - 1]) <= 1e-6 * max(1.0, abs(score))
        ranks.append(ranks[-1] if same else i + 1)
    return ranks


def _similarity(hit: Hit) -> float:
    return hit.similarity or 0.0


def _words_score(hit: Hit) -> float:
    return hit.words_score or 0.0


def _first(one: float | None, other: float | None) -> float | None:
    return other if one is None else one
