"""The small world: what the demo model is taught, asked and measured on, made by seed in pure Python.

    example.py        one question with its answer, and the seeded choice of what is held out
    geography.py      states, countries, capitals, cities, and two-hop questions
    grammar.py        subject-verb agreement
    medicine.py       drugs and enzymes, functions and neurotransmitters, diseases and organs
    arithmetic.py     addition in words
    multilingual.py   opposites, plurals and translations in three languages
    filler.py         sentences without facts: the baseline

This file puts the domains together: all questions (`examples`), texts drawn by seed for training (`texts`) and for the corpus
(`write_corpus`), every token (`vocabulary`), what training never sees (`split_record`). Not here: tokenizing, training, and writing
prompt sets (the folder above).
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from functools import cache

from neuron_atlas.demo.world.arithmetic import MIRRORED_COUNT, UNSEEN_COUNT, arithmetic_examples, held_out_sums
from neuron_atlas.demo.world.example import SPLIT_SEED, Example
from neuron_atlas.demo.world.filler import filler_openings, filler_prompts, filler_words, write_filler_sentence
from neuron_atlas.demo.world.geography import TWO_HOP_TASKS, geography_examples, held_out_cities
from neuron_atlas.demo.world.grammar import grammar_examples, grammar_words, held_out_pairs, write_grammar_sentence
from neuron_atlas.demo.world.medicine import medicine_examples
from neuron_atlas.demo.world.multilingual import (
    HELD_OUT_OPPOSITES_PER_LANGUAGE,
    held_out_opposites,
    multilingual_examples,
)

DOMAINS = ("geography", "grammar", "medicine", "arithmetic", "multilingual")
BASELINE = "filler"

# One token is a word with the space before it, or a full stop.
TOKEN_PATTERN = r" ?[^ .]+|\."

# Share of sentences per domain in training text.
TRAINING_MIX = {
    "geography": 0.38,
    "grammar": 0.13,
    "medicine": 0.13,
    "arithmetic": 0.16,
    "multilingual": 0.14,
    "filler": 0.06,
}
# The corpus for activation statistics is read by people too: more grammar and filler than training needs.
CORPUS_MIX = {
    "geography": 0.20,
    "grammar": 0.18,
    "medicine": 0.14,
    "arithmetic": 0.14,
    "multilingual": 0.14,
    "filler": 0.20,
}
SECOND_SENTENCE_SHARE = 0.3

__all__ = [
    "BASELINE",
    "CORPUS_MIX",
    "DOMAINS",
    "HELD_OUT_OPPOSITES_PER_LANGUAGE",
    "MIRRORED_COUNT",
    "TOKEN_PATTERN",
    "TRAINING_MIX",
    "TWO_HOP_TASKS",
    "UNSEEN_COUNT",
    "Example",
    "examples",
    "filler_prompts",
    "grammar_examples",
    "split_record",
    "texts",
    "vocabulary",
    "write_corpus",
]


@cache
def examples(domain: str) -> tuple[Example, ...]:
    """Every question of a domain with its right answer, held-out ones included, in a fixed order."""
    makers = {
        "geography": geography_examples,
        "grammar": grammar_examples,
        "medicine": medicine_examples,
        "arithmetic": arithmetic_examples,
        "multilingual": multilingual_examples,
    }
    if domain not in makers:
        raise ValueError(f"domain: expected one of {', '.join(DOMAINS)}, got {domain!r}; filler has no answers.")
    return makers[domain]()


def texts(*, seed: int | str, mix: dict[str, float]) -> Iterator[str]:
    """An endless stream of training texts of one or two sentences; never a held-out question. Same seed, same texts."""
    rng = random.Random(f"texts:{seed}")
    domains, weights = list(mix), list(mix.values())
    while True:
        first, second = rng.choices(domains, weights, k=2)
        text = _write_sentence(first, rng)
        if rng.random() < SECOND_SENTENCE_SHARE:
            text = f"{text} {_write_sentence(second, rng)}"
        yield text


def write_corpus(*, seed: int | str = "corpus", count: int = 3000) -> str:
    """The corpus for activation statistics: ``count`` distinct texts, one a line."""
    lines: dict[str, None] = {}
    for text in texts(seed=seed, mix=CORPUS_MIX):
        lines[text] = None
        if len(lines) == count:
            break
    return "".join(f"{line}\n" for line in lines)


@cache
def vocabulary() -> tuple[str, ...]:
    """Every token the world can produce, sorted: `` word`` within a text, ``word`` at its start, and the full stop."""
    inside: set[str] = set()
    openings = {*filler_openings(), "the"}
    for domain in DOMAINS:
        for example in examples(domain):
            words = re.findall(TOKEN_PATTERN, example.sentence)
            openings.add(words[0])
            inside.update(words[1:])
    words = openings | grammar_words() | filler_words()
    inside.update(f" {word}" for word in words)
    return tuple(sorted(inside | openings | {"."}))


def split_record() -> dict[str, object]:
    """What training never sees, in plain values: the content of the model folder's ``split.json``."""
    return {
        "split_seed": SPLIT_SEED,
        "rule": "A held-out question never stands in a training text; one-hop facts about held-out cities do.",
        "two_hop_cities": sorted(held_out_cities()),
        "two_hop_tasks": list(TWO_HOP_TASKS),
        "agreement_noun_pairs": sorted(list(pair) for pair in held_out_pairs()),
        "sums": sorted([a, b, kind] for (a, b), kind in held_out_sums().items()),
        "opposites": sorted(list(pair) for pair in held_out_opposites()),
    }


@cache
def _trained_sentences(domain: str) -> tuple[tuple[str, ...], ...]:
    """Sentences that training may see, grouped by task, so that no task is rare."""
    groups: dict[str, list[str]] = {}
    for example in examples(domain):
        if not example.is_held_out:
            groups.setdefault(example.task, []).append(example.sentence)
    return tuple(tuple(group) for group in groups.values())


def _write_sentence(domain: str, rng: random.Random) -> str:
    if domain == "grammar":
        return write_grammar_sentence(rng)
    if domain == BASELINE:
        return write_filler_sentence(rng)
    groups = _trained_sentences(domain)
    group = rng.choices(groups, [len(group) ** 0.75 for group in groups])[0]
    return rng.choice(group)
