"""What tokens have in common, read off the data itself.

"Promotes Salem, Boise, Austin" becomes "capital-related words" because in the texts at hand `capital` stands before each of
them and before few other tokens. Four kinds of traits are known: the closed **class** (number words), the **form** (ends in
-ing; capitalised; plural or singular, where the vocabulary holds both), and the **context** (a content word that precedes
the token in at least half of its occurrences). A set of tokens shares a trait when so many of them carry it that drawing
them at random would hardly do that (binomial tail below `P_SHARED`).

Texts that are held out for scoring must not be passed in.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neuron_atlas.core.labeling.evidence.evidence_record import SharedTrait
from neuron_atlas.core.labeling.evidence.word_classes import DETERMINERS, FUNCTION_WORDS, classes_of

WINDOW = 8
"""How many tokens before a token count as its context."""
P_SHARED = 2e-3
MIN_CARRIERS = 3
MIN_SHARE = 0.6
"""A shared trait is carried by at least this many, and this share, of the listed tokens; of random lists of the demo
vocabulary (794 tokens, 169 traits) fewer than 1 in 100 share one."""
_MIN_SEEN = 2
_CONTEXT_SHARE = 0.5
_COMMON = 0.4
_SAYS_NOTHING = frozenset({"word", "words", "thing", "things"})
"""Content words that name no content: "word-related words"."""

Kind = Literal["class", "form", "context"]
Trait = tuple[Kind, str]


@dataclass(frozen=True)
class Lexicon:
    """Tokens seen, and which traits each carries.

    `row` maps a token id to its row in `carries` [tokens, traits] (bool); `base` [traits] is the share of tokens that carry
    the trait; `before_rate` maps a token id to the share of positions that have it within `WINDOW` tokens before them.
    """

    text: Mapping[int, str]
    row: Mapping[int, int]
    traits: tuple[Trait, ...]
    carries: NDArray[np.bool_]
    base: NDArray[np.float64]
    before_rate: Mapping[int, float]

    def shared(self, token_ids: Sequence[int], *, most: int = 3) -> tuple[SharedTrait, ...]:
        """What the tokens have in common, the least likely coincidence first; empty for fewer than three tokens."""
        asked = [i for i in token_ids if i in self.row]
        if len(asked) < MIN_CARRIERS or not self.traits:
            return ()
        carries = self.carries[[self.row[i] for i in asked]]
        carriers = carries.sum(axis=0)
        enough = np.flatnonzero((carriers >= MIN_CARRIERS) & (carriers >= MIN_SHARE * len(asked)))
        found = [(binomial_tail(int(carriers[t]), len(asked), float(self.base[t])), int(t)) for t in enough]
        return tuple(
            SharedTrait(
                kind=self.traits[t][0],
                name=self.traits[t][1],
                token_ids=tuple(i for i, carried in zip(asked, carries[:, t], strict=True) if carried),
                of=len(asked),
                base=round(float(self.base[t]), 4),
            )
            for _, t in sorted((p, t) for p, t in found if p < P_SHARED)[:most]
        )


def binomial_tail(k: int, n: int, p: float) -> float:
    """P(X >= k) for n independent draws that succeed with probability p."""
    return sum(comb(n, j) * p**j * (1 - p) ** (n - j) for j in range(k, n + 1))


def build_lexicon(texts: Sequence[Sequence[int]], text_of: Mapping[int, str]) -> Lexicon:
    """The lexicon of all tokens in `text_of`; `texts` are token-id sequences that show how they are used."""
    ids = sorted(text_of)
    words = {i: text_of[i].strip().lower() for i in ids}
    seen, after_determiner, contexts, positions = _usage(texts, words)
    carried: dict[Trait, set[int]] = defaultdict(set)
    for i in ids:
        for name in classes_of(text_of[i]):
            carried["class", name].add(i)
    for trait, carriers in _forms({i: text_of[i].strip() for i in ids}, seen, after_determiner).items():
        carried["form", trait].update(carriers)
    for (token, before), n in contexts.items():
        if seen[token] >= _MIN_SEEN and n >= _CONTEXT_SHARE * seen[token] and _is_content(words.get(before, "")):
            carried["context", words[before]].add(token)
    usual = _COMMON * len(ids)
    traits = tuple(sorted(t for t, who in carried.items() if MIN_CARRIERS <= len(who) <= usual or t[0] == "class"))
    row = {token: n for n, token in enumerate(ids)}
    carries = np.zeros((len(ids), len(traits)), dtype=np.bool_)
    for column, trait in enumerate(traits):
        carries[[row[i] for i in carried[trait]], column] = True
    base = carries.mean(axis=0) if len(ids) else np.zeros(0)
    totals = Counter[int]()
    for (_, before), n in contexts.items():
        totals[before] += n
    before_rate = {token: n / max(positions, 1) for token, n in totals.items()}
    return Lexicon(dict(text_of), row, traits, carries, base.astype(np.float64), before_rate)


def _usage(
    texts: Sequence[Sequence[int]], words: Mapping[int, str]
) -> tuple[Counter[int], Counter[int], Counter[tuple[int, int]], int]:
    """How often each token occurs, occurs right after a determiner, and has which tokens before it (once per occurrence)."""
    seen, after_determiner, contexts = Counter[int](), Counter[int](), Counter[tuple[int, int]]()
    positions = 0
    for text in texts:
        for p, token in enumerate(text):
            seen[token] += 1
            positions += 1
            if p and words.get(text[p - 1]) in DETERMINERS:
                after_determiner[token] += 1
            contexts.update((token, before) for before in set(text[max(0, p - WINDOW) : p]) if before != token)
    return seen, after_determiner, contexts, positions


def _is_content(word: str) -> bool:
    return len(word) >= 3 and word.isalpha() and word not in FUNCTION_WORDS and word not in _SAYS_NOTHING


def _forms(texts: Mapping[int, str], seen: Counter[int], after_determiner: Counter[int]) -> dict[str, set[int]]:
    """Traits of spelling: capital, ending, and number where the vocabulary holds a word both with and without -s."""
    forms: dict[str, set[int]] = defaultdict(set)
    known = {text.lower() for text in texts.values()}
    for token, text in texts.items():
        if not text.isalpha():
            continue
        if text[0].isupper():
            forms["capitalised words"].add(token)
        word = text.lower()
        for length in (2, 3, 4):
            if len(word) >= length + 3:
                forms[f"words ending in -{word[-length:]}"].add(token)
        has_s = word.endswith("s") and word[:-1] in known
        if word in FUNCTION_WORDS or not (has_s or f"{word}s" in known) or seen[token] < _MIN_SEEN:
            continue
        share = after_determiner[token] / seen[token]
        if share >= 0.5:
            forms["plural nouns" if has_s else "singular nouns"].add(token)
        elif share <= 0.1:
            forms["singular verbs" if has_s else "plural verbs"].add(token)
    return forms
