"""What a label's tokens predict, token by token."""

from __future__ import annotations

import numpy as np
import pytest

from neuron_atlas.core.labeling.scoring.activation_simulator import FlatTexts, flatten, simulate

TEXTS = [[1, 2, 3], [2, 1, 9, 9, 9, 9, 9, 9, 9, 9, 2]]


@pytest.fixture
def texts() -> FlatTexts:
    return flatten(TEXTS, [[0.0] * len(t) for t in TEXTS], ["top", "random"], 1)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("token-pattern", [1, 1, 0] + [1, 1] + [0] * 8 + [1]),
        # 2 after 1 counts double; the last 2 stands 9 after the 1 and 10 after the first 2: out of the window of 8
        ("combination", [1, 2, 0] + [1, 2] + [0] * 8 + [1]),
        # how many of {1, 2} stand before; a text's first token has nothing before it, whatever ended the last text
        ("context", [0, 1, 2] + [0, 1] + [2] * 7 + [1, 0]),
    ],
)
def test_kinds(texts: FlatTexts, kind: str, expected: list[int]) -> None:
    assert simulate(texts, [1, 2], kind).tolist() == expected


def test_the_other_sign_does_not_count_as_firing() -> None:
    texts = flatten([[1, 2]], [[-3.0, 2.0]], ["top"], -1)
    assert texts.activations.tolist() == [3.0, 0.0]
    assert texts.peaks(texts.activations).tolist() == [3.0]


def test_no_tokens_predict_nothing(texts: FlatTexts) -> None:
    assert not simulate(texts, [], "combination").any()
    assert np.isfinite(simulate(texts, [], "context")).all()
