"""Search quality: the measure of benchmarks/search_quality.py, worked by hand."""

from __future__ import annotations

from math import log2

import polars as pl
import pytest

from benchmarks.search_quality import CONCEPTS, Key, judge, ndcg


def key(neuron: int) -> Key:
    return 0, neuron, 1, "output"


def test_ndcg_worked_by_hand() -> None:
    """Grades 2 and 1 gain 3 and 1; places 1, 2, 3 divide by 1, log2(3), 2. The best order gains 3 + 1 / log2(3)."""
    grades = {key(1): 2, key(2): 1}
    best = 3 + 1 / log2(3)
    assert ndcg([key(1), key(2)], grades) == pytest.approx(1)
    assert ndcg([key(2), key(1)], grades) == pytest.approx((1 + 3 / log2(3)) / best)
    assert ndcg([key(9), key(8), key(1)], grades) == pytest.approx(3 / 2 / best)
    assert ndcg([key(n) for n in range(10, 20)] + [key(1)], grades) == 0  # the eleventh does not count


def test_what_neurons_do_is_judged_not_what_labels_say() -> None:
    """`Ohio` is a state, `Boston` is not; the demo calls states "state"; `the` is nothing."""
    tokens = {1: ["Ohio", "Texas", "the", "the"], 2: ["Ohio", "the", "the", "the"], 3: ["state", "the"], 4: ["the"]}
    known = pl.DataFrame(
        {"layer": 0, "neuron": list(tokens), "polarity": 1, "side": "output", "tokens": list(tokens.values())}
    )
    judged = judge(known)
    asked = {question.text: question.grades for question in judged if question.concept == "states"}
    assert list(asked) == list(CONCEPTS["states"][1])
    assert asked["American states"] == {key(1): 2, key(2): 1, key(3): 1}
    assert not any(question.concept == "drugs" for question in judged)  # no neuron here is about drugs


def test_there_are_sixty_questions_at_least() -> None:
    questions = [text for _, texts in CONCEPTS.values() for text in texts]
    assert len(set(questions)) == len(questions) >= 60
