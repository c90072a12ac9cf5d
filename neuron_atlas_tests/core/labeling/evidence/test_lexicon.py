"""What tokens share is read off the texts: by hand on a vocabulary of 12 words."""

from __future__ import annotations

import pytest

from neuron_atlas.core.labeling.evidence.lexicon import binomial_tail, build_lexicon
from neuron_atlas.core.labeling.evidence.word_classes import classes_of

WORDS = ["the", "of", "is", "capital", "Salem", "Boise", "Austin", "oak", "elm", "ash", "cat", "cats"]
IDS = {word: n for n, word in enumerate(WORDS)}


def ids(text: str) -> list[int]:
    return [IDS[word] for word in text.split()]


TEXTS = [ids(f"the capital of {place} is") for place in ("Salem", "Boise", "Austin")] * 2
TEXTS += [ids(f"the {tree} is") for tree in ("oak", "elm", "ash")] * 2 + [ids("the cat is"), ids("the cats is")] * 2


def test_a_word_that_stands_before_all_of_them_is_a_shared_context() -> None:
    lexicon = build_lexicon(TEXTS, dict(enumerate(WORDS)))
    # "capital" stands before Salem, Boise, Austin and "of": 4 of 12 tokens carry it. Three or more of four drawn at
    # random: 4 * (1/3)^3 * 2/3 + (1/3)^4 = 0.11, too likely to be named.
    assert [t for t in lexicon.shared(ids("Salem Boise Austin oak")) if t.kind == "context"] == []
    larger = build_lexicon(TEXTS, {**dict(enumerate(WORDS)), **{n: f"w{n}" for n in range(12, 80)}})
    (trait,) = [t for t in larger.shared(ids("Salem Boise Austin oak")) if t.kind == "context"]
    # 4 of 80: 4 * 0.05^3 * 0.95 + 0.05^4 = 0.00048
    assert (trait.name, trait.token_ids, trait.of, trait.base) == ("capital", tuple(ids("Salem Boise Austin")), 4, 0.05)


def test_number_of_nouns_needs_both_forms_in_the_vocabulary() -> None:
    lexicon = build_lexicon(TEXTS, dict(enumerate(WORDS)))
    plural = {name for kind, name in lexicon.traits if kind == "form" and "noun" in name}
    assert plural == set()  # one carrier each is not a trait: three are needed
    words = [f"{stem}{s}" for stem in ("cat", "dog", "cow") for s in ("", "s")] + ["the", "w", "x", "y"]
    texts = [[6, n] for n in range(6)] * 2
    found = build_lexicon(texts, dict(enumerate(words)))
    assert {name for kind, name in found.traits if "noun" in name} == {"plural nouns", "singular nouns"}
    assert found.carries[[found.row[n] for n in (1, 3, 5)], found.traits.index(("form", "plural nouns"))].all()


def test_fewer_than_three_tokens_share_nothing() -> None:
    lexicon = build_lexicon(TEXTS, dict(enumerate(WORDS)))
    assert lexicon.shared(ids("Salem Boise")) == ()
    assert build_lexicon([], {}).shared([1, 2, 3]) == ()


@pytest.mark.parametrize(
    ("k", "n", "p", "expected"), [(0, 3, 0.5, 1.0), (3, 3, 0.5, 0.125), (2, 3, 0.5, 0.5), (1, 2, 0.1, 0.19)]
)
def test_binomial_tail(k: int, n: int, p: float, expected: float) -> None:
    assert binomial_tail(k, n, p) == pytest.approx(expected)


def test_how_often_a_token_stands_before_any_place() -> None:
    lexicon = build_lexicon([[0, 1, 1], [1, 0]], {0: "a", 1: "b"})
    assert lexicon.before_rate[0] == pytest.approx(2 / 5)  # before 2 of 5 places


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        (" seven", ["number words"]),
        ("twenty-four", ["number words"]),
        (" The", ["articles"]),
        ("42", ["digits"]),
        (".", ["punctuation marks"]),
        (" (", ["brackets and quotes"]),
        ("\\n", ["white space"]),
        ("␣", ["white space"]),
        ("Salem", []),
        ("", []),
    ],
)
def test_closed_classes(token: str, expected: list[str]) -> None:
    assert classes_of(token) == expected
