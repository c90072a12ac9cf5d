"""Rules for the input pass: what makes a neuron fire?

From the tokens at the exemplars' peaks and from what stands before them, a handful of hypotheses is formed: these tokens;
these tokens after those words; anything after those words. Each is tried, by the same simulator that scores labels, on the
texts the labeler was shown (never on held-out ones), and the one that predicts best when the neuron fires becomes the label; how
well it does so is the confidence. Where no hypothesis holds, position or upstream neurons may explain it; where there are no
exemplars, the tokens over-represented in graphs do, then the weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from neuron_atlas.core.labeling.evidence.evidence_record import InputEvidence, Neighbour, TokenList, TokenWeight
from neuron_atlas.core.labeling.evidence.labeler_answer import (
    MAX_LABEL_WORDS,
    InputType,
    Label,
    Unlabeled,
    enumerate_words,
    is_quotable,
    quoted,
)
from neuron_atlas.core.labeling.evidence.word_classes import FUNCTION_WORDS
from neuron_atlas.core.labeling.labelers.rules_themes import MAX_LISTED, Theme, phrase, theme_of
from neuron_atlas.core.labeling.scoring.activation_simulator import FlatTexts, flatten, simulate
from neuron_atlas.core.labeling.scoring.score_input import HeldOut, detection, simulation

MIN_CONFIDENCE = 0.3
"""Below this the rules abstain."""
_SHRINK = 0.85
_SIMPLER = 0.02
_ONE_PLACE = 0.9
_LIFT = 3.0
_COVERS = 0.5
_MOST_BEFORE = 3


@dataclass(frozen=True, slots=True)
class _Hypothesis:
    """`theme` after `before` words; an empty theme means any token."""

    kind: InputType
    theme: Theme | None
    before: tuple[TokenWeight, ...] = ()

    @property
    def tokens(self) -> tuple[TokenWeight, ...]:
        return (*(self.theme.tokens if self.theme else ()), *self.before)


def explain_input(evidence: InputEvidence) -> Label | Unlabeled:
    """A label for what makes the neuron fire, or why there is none."""
    if not evidence.exemplars:
        return _without_exemplars(evidence)
    texts = _shown(evidence)
    tried = [(_fit(texts, guess), guess) for guess in _hypotheses(evidence)]
    if not tried:
        return _position(evidence) or Unlabeled(reason="the tokens it fires on cannot be shown as text")
    fit, best = max(tried, key=lambda pair: pair[0] - _SIMPLER * len(pair[1].before))
    confidence = round(min(0.95, max(0.0, _SHRINK * fit)), 3)
    if confidence < MIN_CONFIDENCE:
        why = f"weak: the best of {len(tried)} hypotheses tells its texts apart by {fit:.2f} of 1"
        return _position(evidence) or Unlabeled(reason=why)
    if best.kind == "upstream-gated" and best.theme is not None:
        return _gated_label(best.theme, evidence, confidence)
    return _label_of(best, evidence, confidence)


def _hypotheses(evidence: InputEvidence) -> Iterator[_Hypothesis]:
    """Simplest first: the themes of the firing tokens, each alone and after the words that precede it."""
    before = _telling(evidence.before.tokens)
    themes = _themes(evidence)
    for theme in themes:
        yield _Hypothesis("token-pattern", theme)
    for n in range(1, len(before) + 1):
        for theme in themes:
            yield _Hypothesis("combination", theme, tuple(before[:n]))
        yield _Hypothesis("context", None, tuple(before[:n]))
    gated = theme_of(evidence.gated)
    if gated is not None and gated.words and _drivers(evidence):
        yield _Hypothesis("upstream-gated", gated)


def _themes(evidence: InputEvidence) -> list[Theme]:
    """What the firing tokens share; all of them; the frequent ones; with those over-represented in graphs; the first alone."""
    fired = TokenList(tokens=evidence.firing.tokens)
    found = (
        theme_of(evidence.firing),
        theme_of(fired, head=0.0),
        theme_of(fired),
        theme_of(TokenList(tokens=_with_associated(evidence))),
        theme_of(fired, head=1.0),
    )
    themes = [theme for theme in found if theme is not None and theme.words]
    return list({frozenset(token.token_id for token in theme.tokens): theme for theme in reversed(themes)}.values())[
        ::-1
    ]


def _with_associated(evidence: InputEvidence) -> tuple[TokenWeight, ...]:
    """The firing tokens and those clearly over-represented at the neuron's place in graphs, as strong as the strongest."""
    found = [a for a in evidence.associations if a.lift >= _LIFT]
    if not found or not evidence.firing.tokens:
        return ()
    top, often = evidence.firing.tokens[0].weight, max(a.frequency for a in found)
    known = {token.token_id for token in evidence.firing.tokens}
    more = [TokenWeight(token_id=a.token_id, text=a.text, weight=top * a.frequency / often) for a in found]
    tokens = (*evidence.firing.tokens, *(token for token in more if token.token_id not in known))
    return tuple(sorted(tokens, key=lambda token: (-token.weight, token.token_id)))[:MAX_LISTED]


def _telling(before: Sequence[TokenWeight]) -> list[TokenWeight]:
    """Content words if there are any, else grammar words; never marks; each word once."""
    unique = {token.text.strip().lower(): token for token in reversed(before) if is_quotable(token.text)}
    words = [token for word, token in reversed(unique.items()) if any(c.isalnum() for c in word)]
    content = [token for token in words if token.text.strip().lower() not in FUNCTION_WORDS]
    return (content or words)[:_MOST_BEFORE]


def _shown(evidence: InputEvidence) -> FlatTexts:
    texts = [text for text in (*evidence.exemplars, *evidence.others) if text.token_ids]
    kinds = ["top"] * len(evidence.exemplars) + ["other"] * (len(texts) - len(evidence.exemplars))
    return flatten([text.token_ids for text in texts], [text.activations for text in texts], kinds, 1)


def _fit(texts: FlatTexts, guess: _Hypothesis) -> float:
    """How well a hypothesis tells which shown texts fire the neuron and which tokens do, 0..1; the mean of the two."""
    simulated = simulate(texts, [token.token_id for token in guess.tokens], guess.kind)
    told = HeldOut(texts, np.array([kind == "top" for kind in texts.kinds], np.float64))
    r = max(0.0, simulation(told, simulated, None).value)
    share = float(told.fires.mean())
    if share in (0.0, 1.0):
        return r
    return (r + max(0.0, (detection(told, simulated, None).value - share) / (1 - share))) / 2


def _label_of(guess: _Hypothesis, evidence: InputEvidence, confidence: float) -> Label | Unlabeled:
    words = [quoted(token.text) for token in guess.before]
    after = enumerate_words(words) if words else ""
    if guess.theme is None:
        label = f"fires in texts after {enumerate_words(words)}"
        described = f"Fires on varying tokens after {after}"
    elif words:
        what = guess.theme.name or quoted(guess.theme.words[0])
        label = f"fires on {what} after {enumerate_words(words, most=2)}"
        label = label if len(label.split()) <= MAX_LABEL_WORDS else f"fires on {what} after {words[0]}"
        described = f"Fires on {enumerate_words(guess.theme.words, most=5)} when {after} came before"
    else:
        label = phrase("fires on", guess.theme)
        measured = {token.token_id: token.weight for token in evidence.firing.tokens}
        covered = sum(measured.get(token.token_id, 0.0) for token in guess.theme.tokens)
        named = enumerate_words(guess.theme.words, most=5)
        described = f"Fires on {named}: {covered:.0%} of its activation where it fires in the texts seen"
    if evidence.precision is not None and guess.theme is not None:
        described += f"; in random texts the token alone fires it {evidence.precision:.0%} of the time"
    tokens = _widened(guess, evidence)
    return _label(label, f"{described}.", guess.kind, confidence, tokens)


def _position(evidence: InputEvidence) -> Label | None:
    place = evidence.position
    if place is None or place.share < _ONE_PLACE or len(evidence.exemplars) < 4:
        return None
    return Label(
        label=f"fires at token position {place.position}",
        description=f"Fires at position {place.position} in {place.share:.0%} of its top texts, on varying tokens.",
        type="position",
        confidence=MIN_CONFIDENCE,
    )


def _drivers(evidence: InputEvidence) -> list[Neighbour]:
    """Earlier neurons that excite it and have an input label, strongest first."""
    return [neighbour for neighbour in evidence.upstream if neighbour.weight > 0 and neighbour.label("input")]


def _gated_label(theme: Theme, evidence: InputEvidence, confidence: float) -> Label:
    drivers = _drivers(evidence)
    seen = drivers[0].label("input")
    named = f"{drivers[0].name}{f' ({seen.text})' if seen else ''}"
    described = f"Driven by {len(drivers)} labeled earlier neurons, first {named}."
    return _label(phrase("driven by", theme), described, "upstream-gated", confidence, theme.tokens)


def _gated(evidence: InputEvidence) -> Label | None:
    """From graphs alone: what its excitatory upstream neurons are labeled to fire on."""
    theme = theme_of(evidence.gated)
    if theme is None or not theme.words or not _drivers(evidence):
        return None
    share = min(1.0, sum(neighbour.weight * neighbour.frequency for neighbour in _drivers(evidence)))
    confidence = 0.1 + 0.4 * share + (0.2 if theme.name else 0.1 * theme.focus)
    return _gated_label(theme, evidence, confidence) if confidence >= MIN_CONFIDENCE else None


def _without_exemplars(evidence: InputEvidence) -> Label | Unlabeled:
    """Graphs and weights alone: over-represented tokens, then upstream neurons, then the input projection."""
    found = [a for a in evidence.associations if a.lift >= _LIFT]
    tokens = tuple(TokenWeight(token_id=a.token_id, text=a.text, weight=a.frequency) for a in found)
    seen = theme_of(TokenList(tokens=tokens, shared=evidence.drives.shared))
    if seen is not None and seen.words:
        covered = min(1.0, sum(token.weight for token in seen.tokens))
        if covered >= _COVERS:
            confidence = 0.15 + 0.3 * covered + 0.2 * _agreement(seen, evidence.drives)
            described = f"Appears on {enumerate_words(seen.words, most=5)} in {covered:.0%} of its places in graphs."
            return _label(phrase("fires on", seen), described, "token-pattern", confidence, seen.tokens)
    gated = _gated(evidence)
    if gated is not None:
        return gated
    driven = theme_of(evidence.drives)
    if driven is None or not driven.words:
        return Unlabeled(reason="no exemplars, no over-represented tokens and no input projection")
    confidence = 0.1 + 0.4 * driven.focus + (0.2 if driven.name else 0.0)
    if confidence < MIN_CONFIDENCE:
        return Unlabeled(reason=f"weak: its weights answer to many tokens alike (focus {driven.focus:.2f})")
    described = f"Its weights answer to {enumerate_words(driven.words, most=5)}; not seen to fire in a corpus."
    return _label(phrase("fires on", driven), described, "token-pattern", confidence, driven.tokens)


def _widened(guess: _Hypothesis, evidence: InputEvidence) -> tuple[TokenWeight, ...]:
    """The hypothesis's tokens and, where they share a trait, further tokens with that trait that the weights answer to."""
    if guess.theme is None or not guess.theme.name:
        return guess.tokens
    same = {i for trait in evidence.drives.shared if guess.theme.name.startswith(trait.name) for i in trait.token_ids}
    return (*guess.tokens, *(token for token in evidence.drives.tokens if token.token_id in same and token.weight > 0))


def _agreement(theme: Theme, drives: TokenList) -> float:
    """Share of the theme's tokens that the input projection names too, 0..1."""
    named = {token.token_id for token in drives.tokens if token.weight > 0}
    return sum(token.token_id in named for token in theme.tokens) / len(theme.tokens)


def _label(label: str, description: str, kind: InputType, confidence: float, tokens: Sequence[TokenWeight]) -> Label:
    unique = {token.token_id: token.text for token in tokens}
    return Label(
        label=label,
        description=description,
        type=kind,
        confidence=round(min(0.95, confidence), 3),
        tokens=tuple(unique.values()),
        token_ids=tuple(unique),
    )
