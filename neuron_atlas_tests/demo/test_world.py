"""The small world: closed vocabulary, one answer per question, and a split that training texts respect."""

from __future__ import annotations

import re
from itertools import islice

import pytest

from neuron_atlas.demo import world
from neuron_atlas.demo.world.arithmetic import held_out_sums, number_word
from neuron_atlas.demo.world.example import choose_held_out, next_in_cycle
from neuron_atlas.demo.world.grammar import held_out_pairs

ALL = [example for domain in world.DOMAINS for example in world.examples(domain)]


@pytest.fixture(scope="module")
def training_texts() -> list[str]:
    return list(islice(world.texts(seed=1, mix=world.TRAINING_MIX), 8000))


def sentences(texts: list[str]) -> list[str]:
    return [f"{part}." for text in texts for part in text.removesuffix(".").split(". ")]


def test_the_case_study_is_in_the_world() -> None:
    prompts = {example.prompt: example.answer for example in world.examples("geography")}
    assert prompts["the capital of the state containing Dallas is"] == " Austin"
    assert prompts["the state containing Dallas is"] == " Texas"
    assert prompts["the capital of Texas is"] == " Austin"
    assert {e.prompt: e.answer for e in world.examples("arithmetic")}["seven plus five equals"] == " twelve"


def test_every_question_has_one_answer_and_a_wrong_one_of_equal_length() -> None:
    answers: dict[str, str] = {}
    for example in ALL:
        assert example.answer != example.contrast
        assert len(example.prompt.split()) == len(example.partner.split()), example
        if example.domain != "grammar":  # after `the uncle` either of `is` and `has` is right
            assert answers.setdefault(example.prompt, example.answer) == example.answer


def test_the_partner_prompt_is_answered_by_the_contrast() -> None:
    answers = {example.prompt: example.answer for example in ALL if example.domain != "grammar"}
    for example in ALL:
        if example.domain != "grammar":
            assert answers[example.partner] == example.contrast, example


def test_agreement_follows_the_subject_and_not_the_distractor() -> None:
    for example in world.examples("grammar"):
        words, tags = example.prompt.split(), dict(example.tags)
        agreeing = words[4] if example.task == "within_rc" else words[1]
        is_singular = agreeing in (tags["subject"], tags["other"])
        assert example.answer.endswith("s") is (is_singular and example.answer != " have"), example
        changed = [
            index for index, pair in enumerate(zip(words, example.partner.split(), strict=True)) if len({*pair}) == 2
        ]
        assert changed == [4 if example.task == "within_rc" else 1]


def test_held_out_questions_never_stand_in_training_texts(training_texts: list[str]) -> None:
    seen = set(sentences(training_texts))
    held_out = {example.sentence for example in ALL if example.is_held_out and example.domain != "grammar"}
    assert held_out
    assert not seen & held_out
    trained = {e.sentence for e in world.examples("geography") if not e.is_held_out}
    assert len(seen & trained) > 0.9 * len(trained)


def test_held_out_noun_pairs_never_meet_in_training_texts(training_texts: list[str]) -> None:
    singular = {form: noun[0] for noun in world.grammar.NOUNS for form in noun}
    pairs = [
        (singular[match[1]], singular[match[2]])
        for sentence in sentences(training_texts)
        if (match := re.match(r"the (\w+) (?:that|near|behind|beside|with) the (\w+)", sentence))
        and match[1] in singular
    ]
    assert len(set(pairs)) > 300
    assert not set(pairs) & held_out_pairs()


def test_vocabulary_covers_every_text_and_prompt(training_texts: list[str]) -> None:
    vocabulary = set(world.vocabulary())
    prompts = [text for example in ALL for text in (example.sentence, example.partner)]
    for text in (*training_texts, *prompts, *world.filler_prompts()):
        tokens = re.findall(world.TOKEN_PATTERN, text)
        assert "".join(tokens) == text
        assert vocabulary.issuperset(tokens), text


def test_the_same_seed_gives_the_same_texts_and_another_seed_others() -> None:
    first, again, other = (list(islice(world.texts(seed=s, mix=world.TRAINING_MIX), 50)) for s in (3, 3, 4))
    assert first == again
    assert first != other


@pytest.mark.parametrize(("value", "word"), [(0, "zero"), (13, "thirteen"), (20, "twenty"), (37, "thirty-seven")])
def test_number_words(value: int, word: str) -> None:
    assert number_word(value) == word


def test_unseen_sums_are_held_out_in_both_orders_and_mirrored_ones_in_one() -> None:
    kinds = held_out_sums()
    for (a, b), kind in kinds.items():
        assert ((b, a) in kinds) is (kind == "unseen")


def test_errors_say_what_was_expected() -> None:
    with pytest.raises(ValueError, match="expected one of geography"):
        world.examples("filler")
    with pytest.raises(ValueError, match="at most 1 held-out items, got 2"):
        choose_held_out("letters", ["a"], 2)
    with pytest.raises(ValueError, match=r"expected 0\.\.49, got 50"):
        number_word(50)


def test_a_wrong_answer_is_the_next_distinct_one() -> None:
    assert next_in_cycle(["a", "b", "b", "c"], "b") == "c"
    assert next_in_cycle(["a", "b", "b", "c"], "c") == "a"
