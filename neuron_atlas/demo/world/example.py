"""One question with one right answer: the unit in which the small world states what it knows.

An example is a bare prefix (``the capital of Oregon is``), the token that continues it (`` Salem``, with its leading
space) and a wrong token of the same kind, so that the same record serves as a training sentence, as a question
and as a traced prompt with a contrast. What belongs here: the record and the seeded split. Facts live beside it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

SPLIT_SEED = 20260101


@dataclass(frozen=True)
class Example:
    """A prefix, its continuation, a wrong continuation of the same kind, and whether training ever sees it.

    ``prompt`` has no trailing space; ``answer`` and ``contrast`` are single tokens with a leading space. ``partner`` is a
    prompt of the same number of tokens whose answer is ``contrast``: the corrupt half of a minimal pair, or empty.
    """

    domain: str
    task: str
    prompt: str
    answer: str
    contrast: str
    partner: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    is_held_out: bool = False

    @property
    def sentence(self) -> str:
        """The training sentence: prompt, answer, full stop."""
        return f"{self.prompt}{self.answer}."


def choose_held_out(name: str, items: Sequence[str], count: int) -> frozenset[str]:
    """``count`` of ``items``, the same on every machine: drawn by the split's seed and the name of what is split."""
    if count > len(items):
        raise ValueError(f"split {name!r}: expected at most {len(items)} held-out items, got {count}; ask for fewer.")
    return frozenset(random.Random(f"{SPLIT_SEED}:{name}").sample(list(items), count))


def next_in_cycle(items: Sequence[str], item: str, step: int = 1) -> str:
    """The item ``step`` places after ``item`` in the cycle of distinct ``items``: a wrong answer of the same kind."""
    distinct = list(dict.fromkeys(items))
    return distinct[(distinct.index(item) + step) % len(distinct)]
