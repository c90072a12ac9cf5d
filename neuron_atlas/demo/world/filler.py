"""Sentences without facts: the baseline against which a neuron counts as specific to a domain.

Days, weather, meals and errands, drawn from small lists, so that frequent words, articles and positions have neurons of
their own. Nothing here has a right answer.
"""

from __future__ import annotations

import random
from functools import cache
from string import Formatter

_LISTS: dict[str, tuple[str, ...]] = {
    "day": ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
    "when": ("morning", "afternoon", "evening", "night"),
    "who": ("she", "he", "we", "they"),
    "someone": ("man", "woman", "boy", "girl", "farmer", "baker", "teacher", "cousin", "friend", "sailor"),
    "how": ("old", "young", "tall", "small", "happy", "tired", "quiet", "kind"),
    "went": ("walked", "ran", "drove", "hurried", "returned"),
    "gently": ("slowly", "quickly", "quietly", "alone", "together"),
    "place": ("market", "river", "station", "garden", "library", "bridge", "kitchen", "forest"),
    "bought": ("bought", "found", "carried", "dropped", "counted", "painted", "washed"),
    "number": ("two", "three", "four", "five", "six", "seven"),
    "things": ("apples", "books", "letters", "chairs", "boxes", "coins", "bottles", "hats"),
    "thing": ("lamp", "door", "table", "window", "clock", "basket", "blanket", "coat"),
    "colour": ("red", "blue", "green", "yellow", "brown", "grey"),
    "weather": ("cold", "warm", "windy", "rainy", "sunny", "foggy"),
    "meal": ("breakfast", "lunch", "dinner", "supper"),
    "ate": ("ate", "cooked", "shared", "tasted"),
    "food": ("soup", "bread", "rice", "cheese", "cake", "fish"),
    "season": ("spring", "summer", "autumn", "winter"),
    "did": ("sang", "slept", "waited", "laughed", "rested", "talked"),
}

_PATTERNS: tuple[str, ...] = (
    "on {day} the {how} {someone} {went} {gently} to the {place}",
    "on {day} {when} {who} {bought} {number} {things}",
    "it was a {weather} {when} and the {thing} was {colour}",
    "it was a {weather} day in {season} and {who} {did} near the {place}",
    "after {meal} {who} {did} in the {place}",
    "after {meal} the {someone} {bought} a {colour} {thing}",
    "there were {number} {things} on the {colour} {thing}",
    "there was a {colour} {thing} near the {place}",
    "a {how} {someone} {bought} the {thing} and then {went} home",
    "in the {when} {who} {ate} {food} and {food}",
    "in {season} the {place} is {weather} in the {when}",
    "{who} {went} to the {place} and {bought} {number} {things}",
    "{who} {ate} the {food} with a {how} {someone}",
    "when the {someone} {went} home {who} {did} for a long time",
)


def write_filler_sentence(rng: random.Random) -> str:
    """One full sentence of a random pattern."""
    pattern = rng.choice(_PATTERNS)
    words = [literal + (rng.choice(_LISTS[name]) if name else "") for literal, name, _, _ in Formatter().parse(pattern)]
    return f"{''.join(words)}."


def filler_prompts(*, count: int = 60, seed: int = 0) -> tuple[str, ...]:
    """Distinct prefixes of filler sentences, at least three words long and cut before the last word."""
    rng = random.Random(f"filler:{seed}")
    prompts: dict[str, None] = {}
    while len(prompts) < count:
        words = write_filler_sentence(rng).removesuffix(".").split(" ")
        prompts[" ".join(words[: rng.randint(3, len(words) - 1)])] = None
    return tuple(prompts)


@cache
def filler_words() -> frozenset[str]:
    """Every word that a filler sentence may contain."""
    literals = " ".join(literal for pattern in _PATTERNS for literal, _, _, _ in Formatter().parse(pattern))
    return frozenset([*literals.split(), *(word for words in _LISTS.values() for word in words)])


def filler_openings() -> frozenset[str]:
    """Every word that a filler sentence may begin with."""
    return frozenset(["on", "it", "after", "there", "a", "in", "when", *_LISTS["who"]])
