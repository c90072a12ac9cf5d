"""Addition in words: ``seven plus five equals twelve``.

Operands run from one to twenty, so the answer is one token from two to forty. Two kinds of sums are held out: *mirrored*
ones, of which training sees the other order (b + a), and *unseen* ones, of which it sees neither order.
"""

from __future__ import annotations

from neuron_atlas.demo.world.example import Example, choose_held_out

DOMAIN = "arithmetic"
LARGEST_OPERAND = 20
MIRRORED_COUNT = 30
UNSEEN_COUNT = 10
PARTNER_DISTANCE = 7
"""How far a question's partner counts on (around the corner at the largest operand): close neighbours share most neurons, and
such a small change says little about what makes the answer."""

_TEN = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = ("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
_UNITS = (*_TEN, *_TEENS)
_TENS = {20: "twenty", 30: "thirty", 40: "forty"}
_FORMS = ("{} plus {} equals", "the sum of {} and {} is")


def number_word(value: int) -> str:
    """The English word of 0..49, hyphenated above twenty (``twenty-one``): one token each."""
    if not 0 <= value < 50:
        raise ValueError(f"number word: expected 0..49, got {value}; keep operands at most {LARGEST_OPERAND}.")
    if value < 20:
        return _UNITS[value]
    tens, unit = value - value % 10, value % 10
    return _TENS[tens] if unit == 0 else f"{_TENS[tens]}-{_UNITS[unit]}"


def held_out_sums() -> dict[tuple[int, int], str]:
    """Ordered operand pairs that training never sees, each with its kind: ``mirrored`` or ``unseen``."""
    pairs = [f"{a} {b}" for a in range(1, LARGEST_OPERAND + 1) for b in range(a + 1, LARGEST_OPERAND + 1)]
    chosen = sorted(choose_held_out("sums", pairs, MIRRORED_COUNT + UNSEEN_COUNT))
    unseen = choose_held_out("unseen sums", chosen, UNSEEN_COUNT)
    kinds: dict[tuple[int, int], str] = {}
    for pair in chosen:
        a, b = (int(word) for word in pair.split())
        if pair in unseen:
            kinds[a, b] = kinds[b, a] = "unseen"
        else:
            kinds[a, b] = "mirrored"
    return kinds


def arithmetic_examples() -> tuple[Example, ...]:
    """Every sum of two operands in both phrasings, in a fixed order."""
    kinds = held_out_sums()
    operands = range(1, LARGEST_OPERAND + 1)
    return tuple(_ask(form, a, b, kinds.get((a, b), "trained")) for a in operands for b in operands for form in _FORMS)


def _ask(form: str, a: int, b: int, kind: str) -> Example:
    other = (b + PARTNER_DISTANCE - 1) % LARGEST_OPERAND + 1
    return Example(
        domain=DOMAIN,
        task="addition",
        prompt=form.format(number_word(a), number_word(b)),
        answer=f" {number_word(a + b)}",
        contrast=f" {number_word(a + other)}",
        partner=form.format(number_word(a), number_word(other)),
        tags=(("first", str(a)), ("second", str(b)), ("pair", kind)),
        is_held_out=kind != "trained",
    )
