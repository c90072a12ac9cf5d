"""What a label says about a text, token by token: the deterministic simulator.

A label's tokens are its prediction, and its type says how they combine: a **token pattern** fires on its tokens; a
**combination** fires on its tokens the more of its other tokens came before; a **context** fires on whatever follows its
tokens. The text of a label is not read: a labeler that wants to be scored well must say what it means as tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuron_atlas.core.labeling.evidence.lexicon import WINDOW
from neuron_atlas.core.statistics import Floats


@dataclass(frozen=True)
class FlatTexts:
    """Texts of one neuron joined end to end: token ids [N], activations [N] turned towards the polarity (0 when it is the
    other sign), the first index of every text [B], and its kind."""

    ids: NDArray[np.int64]
    activations: Floats
    starts: NDArray[np.int64]
    kinds: tuple[str, ...]

    @property
    def spans(self) -> Iterator[slice]:
        """Each text's place."""
        for start, end in zip(self.starts, [*self.starts[1:], len(self.ids)], strict=True):
            yield slice(int(start), int(end))

    def peaks(self, values: Floats) -> Floats:
        """Each text's largest value, [B]."""
        return np.maximum.reduceat(values, self.starts)


def flatten(
    ids: Sequence[Sequence[int]], activations: Sequence[Sequence[float]], kinds: Sequence[str], polarity: int
) -> FlatTexts:
    """Join texts; none may be empty."""
    turned = np.concatenate([np.asarray(a, np.float64) for a in activations]) * polarity
    starts = np.cumsum([0, *(len(text) for text in ids)])[:-1]
    joined = np.concatenate([np.asarray(text, np.int64) for text in ids])
    return FlatTexts(joined, np.maximum(turned, 0.0), starts.astype(np.int64), tuple(kinds))


def simulate(texts: FlatTexts, tokens: Sequence[int], kind: str) -> Floats:
    """Predicted activation of every token, [N], in arbitrary units, >= 0."""
    own = np.isin(texts.ids, np.asarray(tokens, np.int64)).astype(np.float64)
    if kind == "context":
        return _distinct_before(texts, tokens)
    if kind == "combination":
        return own * (1.0 + _distinct_before(texts, tokens))
    return own


def _distinct_before(texts: FlatTexts, tokens: Sequence[int]) -> Floats:
    """How many different of the tokens stand within `WINDOW` before each place of the same text, [N]."""
    n = len(texts.ids)
    index = np.arange(n)
    begins = np.zeros(n, np.int64)
    begins[texts.starts] = texts.starts
    begins = np.maximum.accumulate(begins)
    total = np.zeros(n)
    for token in tokens:
        last = np.maximum.accumulate(np.where(texts.ids == token, index, -WINDOW - 2))
        before = np.concatenate([[-WINDOW - 2], last[:-1]])
        total += (before >= begins) & (index - before <= WINDOW)
    return total
