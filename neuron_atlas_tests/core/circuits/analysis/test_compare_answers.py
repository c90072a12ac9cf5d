"""Three answers and four neurons with relevances one can read off:

neuron   yes   no   maybe
N0        2     2     1     shared
N1        3    -3     0     tells yes from no
N2        0     0     1     maybe's own
N3        0.001 everywhere: counts for none
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from neuron_atlas.core.attribution.effects.answer_relevance import AnswerRelevance
from neuron_atlas.core.circuits.analysis.compare_answers import compare_answers
from neuron_atlas.errors import BadInput

TABLE = np.array([[2, 3, 0, 0.001], [2, -3, 0, 0.001], [1, 0, 1, 0.001]], np.float32)


@pytest.fixture
def found() -> AnswerRelevance:
    return AnswerRelevance(
        token_ids=(7,),
        tokens=(" so",),
        answer_ids=(1, 2, 3),
        answers=("yes", "no", "maybe"),
        logits=np.array([10, 10, 10], np.float32),
        probabilities=np.array([0.5, 0.3, 0.2], np.float32),
        relevance=TABLE.reshape(3, 1, 1, 4),
    )


def test_shared_neurons_count_for_every_answer_with_one_sign(found) -> None:
    shared = compare_answers(found).shared
    assert shared.select("neuron", "token", "least").rows() == [(0, " so", pytest.approx(0.1))]
    assert shared["relevance"].to_list() == [[2.0, 2.0, 1.0]]


def test_specific_neurons_count_for_one_answer_alone(found) -> None:
    result = compare_answers(found)
    assert result.specific.select("neuron", "answer").rows() == [(2, 2)]
    assert result.answers.select("token", "counting", "specific").rows() == [
        ("yes", 2, 0),
        ("no", 2, 0),
        ("maybe", 2, 1),
    ]


def test_discriminators_are_the_signed_difference(found) -> None:
    rows = compare_answers(found, pairs=[(0, 1), (2, 0)]).discriminators
    told = rows.select("over", "under", "neuron", "difference", "is_opposed").rows()
    assert told == [(0, 1, 1, 6.0, True), (2, 0, 1, -3.0, False), (2, 0, 0, -1.0, False), (2, 0, 2, 1.0, False)]


def test_by_default_the_first_answer_is_told_from_each_other(found) -> None:
    pairs = compare_answers(found).discriminators.select("over", "under").unique().sort("under").rows()
    assert pairs == [(0, 1), (0, 2)]


def test_lists_are_cut_and_counts_are_not(found) -> None:
    result = compare_answers(found, most_shared=0, most_specific=0, most_discriminators=1)
    assert (result.shared.height, result.specific.height, result.discriminators.height) == (0, 0, 2)
    assert result.answers["specific"].to_list() == [0, 0, 1]


def test_one_answer_alone_and_pairs_of_none_are_refused(found) -> None:
    alone = replace(found, answer_ids=(1,), answers=("yes",), logits=found.logits[:1], relevance=found.relevance[:1])
    with pytest.raises(BadInput, match="at least two"):
        compare_answers(alone)
    with pytest.raises(BadInput, match="no pair"):
        compare_answers(found, pairs=[(1, 1)])
