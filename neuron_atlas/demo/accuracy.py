"""How often a model answers the questions of the small world correctly, by task and by whether training had seen them.

The model is anything that gives the logits after a row of token ids, so that this file needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from neuron_atlas.demo.world import Example

# rows of token ids (lengths may differ) -> logits after the last token of each, [rows, vocabulary] float32
NextTokenLogits = Callable[[Sequence[Sequence[int]]], NDArray[np.float32]]

BATCH = 256


@dataclass(frozen=True)
class TaskAccuracy:
    """The shares of questions of one kind that are answered correctly.

    ``accuracy_top1``: the answer is the most probable token. ``accuracy_contrast``: the answer beats the wrong one.
    """

    domain: str
    task: str
    is_held_out: bool
    questions: int
    accuracy_top1: float
    accuracy_contrast: float


def measure_accuracy(
    ask: NextTokenLogits, tokenizer: Tokenizer, questions: Iterable[Example], *, batch: int = BATCH
) -> tuple[TaskAccuracy, ...]:
    """Ask every question; one row per (domain, task, held out), sorted. Raises ValueError for an unknown word."""
    rows = [(question, tokenizer.encode(question.prompt).ids) for question in questions]
    rows.sort(key=lambda row: len(row[1]))
    outcomes: dict[tuple[str, str, bool], list[tuple[bool, bool]]] = {}
    for start in range(0, len(rows), batch):
        some = rows[start : start + batch]
        logits = ask([ids for _, ids in some])
        for (question, _), row in zip(some, logits, strict=True):
            answer, wrong = _token_id(tokenizer, question.answer), _token_id(tokenizer, question.contrast)
            outcome = (int(row.argmax()) == answer, bool(row[answer] > row[wrong]))
            outcomes.setdefault((question.domain, question.task, question.is_held_out), []).append(outcome)
    return tuple(
        TaskAccuracy(
            domain=domain,
            task=task,
            is_held_out=is_held_out,
            questions=len(some),
            accuracy_top1=sum(is_top for is_top, _ in some) / len(some),
            accuracy_contrast=sum(beats for _, beats in some) / len(some),
        )
        for (domain, task, is_held_out), some in sorted(outcomes.items())
    )


def _token_id(tokenizer: Tokenizer, token: str) -> int:
    token_id = tokenizer.token_to_id(token)
    if token_id is None:
        raise ValueError(
            f"expected {token!r} to be one token of the tokenizer; build the tokenizer from world.vocabulary()."
        )
    return token_id
