"""Rules for the input pass: what makes a neuron fire?

The tokens at the exemplars' peaks are the first witness; without exemplars, the tokens over-represented where the neuron
appears in graphs, then those its weights would answer to. Whether a token alone suffices is measured: `precision` says how
often it fires the neuron elsewhere. A token that does not suffice is read together with what stands before it; where
the tokens say nothing, the context, the position or the upstream neurons may.
"""

from __future__ import annotations

from collections.abc import Sequence

from neuron_atlas.core.labeling.evidence import (
    MAX_LABEL_WORDS,
    InputEvidence,
    InputType,
    Label,
    TokenList,
    TokenWeight,
    Unlabeled,
)
from neuron_atlas.core.labeling.word_classes import FUNCTION_WORDS
from neuron_atlas.core.labeling.wording import Theme, enumerate_words, is_quotable, phrase, quoted, theme_of

MIN_CONFIDENCE = 0.35
_COVERS = 0.5
_SUFFICES = 0.5
_FEW = 2
_BEFORE = 0.6
_ONE_PLACE = 0.9
_LIFT = 3.0


def explain_input(evidence: InputEvidence) -> Label | Unlabeled:
    """A label for what makes the neuron fire, or why there is none."""
    if not evidence.firing.tokens:
        return _without_exemplars(evidence)
    theme = theme_of(evidence.firing)
    if theme is None or not theme.words:
        return Unlabeled(reason="the tokens it fires on cannot be shown as text")
    covered = sum(token.weight for token in theme.tokens)
    before = _telling([t for t in evidence.before.tokens if t.weight >= _BEFORE and is_quotable(t.text)])
    suffices = evidence.near_misses < _FEW or (evidence.precision is not None and evidence.precision >= _SUFFICES)
    if covered >= _COVERS:
        return (
            _token_pattern(evidence, theme, covered) if suffices or not before else _combination(theme, before, covered)
        )
    if before:
        return _context(before)
    return _position(evidence) or _gated(evidence) or Unlabeled(reason=f"mixed: its peak tokens cover {covered:.0%}")


def _telling(before: Sequence[TokenWeight]) -> list[TokenWeight]:
    """Content words if there are any, else grammar words; never marks."""
    unique = {token.text.strip().lower(): token for token in reversed(before)}
    words = [token for word, token in reversed(unique.items()) if any(c.isalnum() for c in word)]
    content = [token for token in words if token.text.strip().lower() not in FUNCTION_WORDS]
    return (content or words)[:3]


def _token_pattern(evidence: InputEvidence, theme: Theme, covered: float) -> Label | Unlabeled:
    precision = evidence.precision if evidence.precision is not None else 0.5
    agreed = _agreement(theme, evidence.drives)
    confidence = 0.1 + 0.4 * min(1.0, covered) + 0.3 * precision + (0.1 if theme.name else 0.0) + 0.1 * agreed
    tokens = _widened(theme, evidence)
    return _label(
        phrase("fires on", theme),
        f"Fires on {enumerate_words(theme.words, most=5)}, which carry {covered:.0%} of its activation in its top texts"
        f"{_elsewhere(evidence)}.",
        "token-pattern",
        confidence,
        tokens,
    )


def _combination(theme: Theme, before: Sequence[TokenWeight], covered: float) -> Label | Unlabeled:
    words = [quoted(token.text) for token in before]
    what = theme.name or quoted(theme.words[0])
    label = f"fires on {what} after {enumerate_words(words, most=2)}"
    share = sum(token.weight for token in before) / len(before)
    return _label(
        label if len(label.split()) <= MAX_LABEL_WORDS else f"fires on {what} after {words[0]}",
        f"Fires on {enumerate_words(theme.words, most=5)} when {enumerate_words(words)} came before; the token alone does "
        "not suffice.",
        "combination",
        0.15 + 0.3 * min(1.0, covered) + 0.4 * share,
        (*theme.tokens, *before),
    )


def _context(before: Sequence[TokenWeight]) -> Label | Unlabeled:
    words = [quoted(token.text) for token in before]
    share = sum(token.weight for token in before) / len(before)
    return _label(
        f"fires in texts after {enumerate_words(words)}",
        f"Fires on varying tokens after {enumerate_words(words)}, which precede the peak in {share:.0%} of its top texts.",
        "context",
        0.1 + 0.5 * share,
        tuple(before),
    )


def _position(evidence: InputEvidence) -> Label | None:
    place = evidence.position
    if place is None or place.share < _ONE_PLACE or len(evidence.exemplars) < 4:
        return None
    return Label(
        label=f"fires at token position {place.position}",
        description=f"Fires at position {place.position} in {place.share:.0%} of its top texts, on varying tokens.",
        type="position",
        confidence=0.4,
    )


def _gated(evidence: InputEvidence) -> Label | None:
    theme = theme_of(evidence.gated)
    drivers = [n for n in evidence.upstream if n.weight > 0 and n.label("input")]
    if theme is None or not theme.words or not drivers:
        return None
    share = min(1.0, sum(n.weight * n.frequency for n in drivers))
    confidence = 0.1 + 0.4 * share + (0.2 if theme.name else 0.1 * theme.focus)
    seen = drivers[0].label("input")
    label = _label(
        phrase("driven by", theme),
        f"Driven by {len(drivers)} labeled earlier neurons, first {drivers[0].name}{f' ({seen.text})' if seen else ''}.",
        "upstream-gated",
        confidence,
        theme.tokens,
    )
    return label if isinstance(label, Label) else None


def _without_exemplars(evidence: InputEvidence) -> Label | Unlabeled:
    """Graphs and weights alone: over-represented tokens, then upstream neurons, then the input projection."""
    found = [a for a in evidence.associations if a.lift >= _LIFT]
    tokens = tuple(TokenWeight(token_id=a.token_id, text=a.text, weight=a.frequency) for a in found)
    seen = theme_of(TokenList(tokens=tokens, shared=evidence.drives.shared))
    driven = theme_of(evidence.drives)
    if seen is not None and seen.words:
        covered = min(1.0, sum(token.weight for token in seen.tokens))
        if covered >= _COVERS:
            confidence = 0.15 + 0.3 * covered + 0.2 * _agreement(seen, evidence.drives)
            described = f"Appears on {enumerate_words(seen.words, most=5)} in {covered:.0%} of its places in graphs."
            return _label(phrase("fires on", seen), described, "token-pattern", confidence, seen.tokens)
    gated = _gated(evidence)
    if gated is not None:
        return gated
    if driven is None or not driven.words:
        return Unlabeled(reason="no exemplars, no over-represented tokens and no input projection")
    confidence = 0.1 + 0.4 * driven.focus + (0.2 if driven.name else 0.0)
    described = f"Its weights answer to {enumerate_words(driven.words, most=5)}; not seen to fire in a corpus."
    return _label(phrase("fires on", driven), described, "token-pattern", confidence, driven.tokens)


def _widened(theme: Theme, evidence: InputEvidence) -> tuple[TokenWeight, ...]:
    """The theme's tokens and, where they share a trait, further tokens with that trait that the weights answer to."""
    have = {token.token_id for token in theme.tokens}
    same = {i for trait in evidence.drives.shared if theme.name.startswith(trait.name) for i in trait.token_ids}
    more = [t for t in evidence.drives.tokens if t.token_id in same and t.token_id not in have and t.weight > 0]
    return (*theme.tokens, *more)


def _agreement(theme: Theme, drives: TokenList) -> float:
    """Share of the theme's tokens that the input projection names too, 0..1."""
    named = {token.token_id for token in drives.tokens if token.weight > 0}
    return sum(token.token_id in named for token in theme.tokens) / len(theme.tokens)


def _elsewhere(evidence: InputEvidence) -> str:
    return "" if evidence.precision is None else f"; in other texts they fire it {evidence.precision:.0%} of the time"


def _label(
    label: str, description: str, kind: InputType, confidence: float, tokens: Sequence[TokenWeight]
) -> Label | Unlabeled:
    confidence = round(min(0.95, max(0.0, confidence)), 3)
    if confidence < MIN_CONFIDENCE:
        return Unlabeled(reason=f"weak evidence for {label!r} (confidence {confidence:.2f})")
    unique = {token.token_id: token.text for token in tokens}
    return Label(
        label=label,
        description=description,
        type=kind,
        confidence=confidence,
        tokens=tuple(unique.values()),
        token_ids=tuple(unique),
    )
