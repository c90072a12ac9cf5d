"""Subject-verb agreement across a distractor, in four templates (those of Marks et al. 2024, arXiv 2403.19647).

    simple      the uncle | is
    nounpp      the uncle near the dogs | is
    rc          the uncle that the dogs like | is
    within_rc   the uncle that the dogs | like

The verb agrees with its subject and not with the nearest noun. Vocabulary and sentences are this project's own. Some
(subject, other noun) pairs never meet in the training text; those are asked about as well.
"""

from __future__ import annotations

import random
from functools import cache

from neuron_atlas.demo.world.example import Example, choose_held_out

DOMAIN = "grammar"
TEMPLATES = ("simple", "nounpp", "rc", "within_rc")
HELD_OUT_PARTNERS = 4

# singular, plural
NOUNS: tuple[tuple[str, str], ...] = (
    ("uncle", "uncles"), ("aunt", "aunts"), ("baker", "bakers"), ("farmer", "farmers"), ("singer", "singers"),
    ("teacher", "teachers"), ("doctor", "doctors"), ("nurse", "nurses"), ("pilot", "pilots"), ("sailor", "sailors"),
    ("lawyer", "lawyers"), ("painter", "painters"), ("friend", "friends"), ("cousin", "cousins"), ("guard", "guards"),
    ("boy", "boys"), ("girl", "girls"), ("man", "men"), ("dog", "dogs"), ("goat", "goats"),
    ("duck", "ducks"), ("rabbit", "rabbits"), ("student", "students"), ("writer", "writers"),
)  # fmt: skip

# singular, plural, what may follow
MAIN_VERBS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("is", "are", ("tall", "tired", "late", "happy", "kind", "quiet")),
    ("has", "have", ("a hat", "the keys", "a letter", "some bread")),
    ("does", "do", ("the work", "the dishes", "the garden")),
    ("goes", "go", ("home", "to the market", "to the river", "away")),
)
CLAUSE_VERBS: tuple[tuple[str, str], ...] = (("likes", "like"), ("sees", "see"), ("knows", "know"), ("helps", "help"))
PREPOSITIONS = ("near", "behind", "beside", "with")

_SINGULAR, _PLURAL = 0, 1


@cache
def held_out_pairs() -> frozenset[tuple[str, str]]:
    """(subject, other noun) in the singular, for pairs that never share a training sentence in these roles."""
    singulars = [singular for singular, _ in NOUNS]
    return frozenset(
        (subject, other)
        for subject in singulars
        for other in choose_held_out(
            f"nouns beside {subject}", [n for n in singulars if n != subject], HELD_OUT_PARTNERS
        )
    )


def write_grammar_sentence(rng: random.Random) -> str:
    """One full training sentence of a random template; its noun pair is never a held-out one."""
    template = rng.choice(TEMPLATES)
    subject, other = _draw_nouns(rng, held_out=False)
    number, other_number = rng.randrange(2), rng.randrange(2)
    singular, plural, endings = rng.choice(MAIN_VERBS)
    verb = (singular, plural)[number]
    phrase = _subject_phrase(template, subject[number], other[other_number], rng)
    if template in ("rc", "within_rc"):
        phrase = f"{phrase} {rng.choice(CLAUSE_VERBS)[other_number]}"
    return f"{phrase} {verb} {rng.choice(endings)}."


def ask_agreement(rng: random.Random, template: str, *, is_held_out: bool) -> Example:
    """One question of a template; its partner differs in the number of the noun that the verb agrees with.

    ``is_held_out`` draws the nouns from pairs that training never shows (a simple sentence has one noun and no split).
    """
    if template not in TEMPLATES:
        raise ValueError(f"template: expected one of {', '.join(TEMPLATES)}, got {template!r}.")
    subject, other = _draw_nouns(rng, held_out=is_held_out)
    number, other_number = rng.randrange(2), rng.randrange(2)
    clause_verb = rng.choice(CLAUSE_VERBS)
    preposition_seed = rng.random()

    def phrase(subject_number: int, distractor_number: int) -> str:
        text = _subject_phrase(
            template, subject[subject_number], other[distractor_number], random.Random(preposition_seed)
        )
        return f"{text} {clause_verb[distractor_number]}" if template == "rc" else text

    if template == "within_rc":
        forms, agreeing, partner = clause_verb, other_number, phrase(number, 1 - other_number)
    else:
        forms, agreeing, partner = rng.choice(MAIN_VERBS)[:2], number, phrase(1 - number, other_number)
    names = ("singular", "plural")
    case = names[number] if template == "simple" else f"{names[number]}_{names[other_number]}"
    return Example(
        domain=DOMAIN,
        task=template,
        prompt=phrase(number, other_number),
        answer=f" {forms[agreeing]}",
        contrast=f" {forms[1 - agreeing]}",
        partner=partner,
        tags=(("case", case), ("subject", subject[_SINGULAR]), ("other", "" if template == "simple" else other[_SINGULAR])),
        is_held_out=is_held_out and template != "simple",
    )  # fmt: skip


def grammar_examples(*, per_template: int = 60, seed: int = 0) -> tuple[Example, ...]:
    """Distinct questions: ``per_template`` of each, half of them about held-out noun pairs, in a fixed order."""
    rng = random.Random(f"grammar:{seed}")
    examples: list[Example] = []
    for template in TEMPLATES:
        seen: dict[tuple[str, str], Example] = {}
        while len(seen) < per_template:
            example = ask_agreement(rng, template, is_held_out=len(seen) % 2 == 1)
            seen.setdefault((example.prompt, example.answer), example)
        examples += seen.values()
    return tuple(examples)


def grammar_words() -> frozenset[str]:
    """Every word that a grammar sentence may contain."""
    endings = " ".join(ending for _, _, some in MAIN_VERBS for ending in some).split()
    nouns = [form for noun in NOUNS for form in noun]
    verbs = [form for verb in MAIN_VERBS for form in verb[:2]] + [form for verb in CLAUSE_VERBS for form in verb]
    return frozenset(["the", "that", *nouns, *verbs, *PREPOSITIONS, *endings])


def _draw_nouns(rng: random.Random, *, held_out: bool) -> tuple[tuple[str, str], tuple[str, str]]:
    pairs = held_out_pairs()
    while True:
        subject, other = rng.sample(NOUNS, 2)
        if ((subject[_SINGULAR], other[_SINGULAR]) in pairs) == held_out:
            return subject, other


def _subject_phrase(template: str, subject: str, other: str, rng: random.Random) -> str:
    """The words before the verb asked for, for nouns already inflected (without the clause's verb)."""
    if template == "simple":
        return f"the {subject}"
    if template == "nounpp":
        return f"the {subject} {rng.choice(PREPOSITIONS)} the {other}"
    return f"the {subject} that the {other}"
