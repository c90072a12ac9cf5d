"""Rules for the output pass: what does a neuron do when it fires?

Two readings compete. A **direct** reading names the theme of the tokens that the neuron raises (or, when only that end
stands out, lowers) through the unembedding. A **routing** reading names the theme of what the neurons it drives are labeled
to do. The direct one is preferred, because pushing a neuron moves the tokens of its own decoder direction even when most
of its relevance passes through later neurons (then its type is `routing` all the same); the routing one is used where there
is no direct effect to name, or where it alone finds a common trait in a neuron that works through others.

Readings are checked before they become a label. Measured edges to traced logits support or contradict a direct one. A routing
one chains several labels, and errors multiply: unless the neuron has next to no direct effect, its own decoder direction
must move some of the same tokens the same way (on the demo model, those that pass score 0.62 corrected, others 0.0).
"""

from __future__ import annotations

from dataclasses import dataclass

from neuron_atlas.core.labeling.evidence.evidence_record import Neighbour, OutputEvidence, TokenList
from neuron_atlas.core.labeling.evidence.labeler_answer import Label, OutputType, Polarity, Unlabeled, enumerate_words
from neuron_atlas.core.labeling.evidence.word_classes import FORMATTING, STRUCTURAL
from neuron_atlas.core.labeling.labelers.rules_themes import Theme, phrase, theme_of

MIN_STRENGTH = 0.3
"""Evidence weaker than this (0..1) is not made into a label: the tokens have nothing in common and none stands out."""
_STRONGER_END = 1.5
_NO_DIRECT = 0.1
_DOMAIN = 0.8
_DOMAIN_Z = 2.0


@dataclass(frozen=True, slots=True)
class _Reading:
    """One way to read the evidence: its answer, and whether its tokens share a trait."""

    answer: Label | Unlabeled
    has_trait: bool = False


def explain_output(evidence: OutputEvidence) -> Label | Unlabeled:
    """A label for what the neuron does, or why there is none."""
    direct, routing = _direct(evidence), _routing(evidence)
    if isinstance(routing.answer, Unlabeled):
        return direct.answer
    works_through_others = _works_through_others(evidence) and routing.has_trait and not direct.has_trait
    return routing.answer if isinstance(direct.answer, Unlabeled) or works_through_others else direct.answer


def _direct(evidence: OutputEvidence) -> _Reading:
    up, down = theme_of(evidence.promotes), theme_of(evidence.suppresses, sign=-1)
    if up is None and down is None:
        up = theme_of(evidence.logits)
        if up is None:
            return _Reading(Unlabeled(reason="no tokens are raised or lowered directly"))
    direction: Polarity = -1 if up is None or (down is not None and _stands_out(down, up)) else 1
    theme = down if direction < 0 else up
    if theme is None or not theme.words:
        return _Reading(Unlabeled(reason="the tokens it raises cannot be shown as text"))
    measured = _measured(evidence.logits, theme, direction)
    if measured and sum(measured) < 0:
        return _Reading(Unlabeled(reason="contradictory: measured logits move against the output projection"))
    strength = _strength(theme, supported=bool(measured))
    if strength < MIN_STRENGTH:
        why = f"weak: the tokens it raises share nothing and none stands out (focus {theme.focus:.2f})"
        return _Reading(Unlabeled(reason=why))
    domain = _domain(evidence)
    label = Label(
        label=phrase("promotes" if direction > 0 else "suppresses", theme, of=domain if len(measured) > 1 else ""),
        description=_describe(evidence, theme, direction, domain),
        type=_type(evidence, theme, is_of_domain=bool(domain) and len(measured) > 1),
        confidence=round(0.5 + 0.5 * strength, 3),
        tokens=tuple(token.text for token in theme.tokens),
        token_ids=tuple(token.token_id for token in theme.tokens),
        direction=direction,
    )
    return _Reading(label, bool(theme.name))


def _routing(evidence: OutputEvidence) -> _Reading:
    labeled = [neighbour for neighbour in evidence.downstream if neighbour.labels]
    if not labeled:
        return _Reading(Unlabeled(reason="works through later neurons, none of which is labeled"))
    up, down = theme_of(evidence.routed), theme_of(evidence.routed, sign=-1)
    direction: Polarity = -1 if up is None or (down is not None and _stands_out(down, up, times=1.0)) else 1
    theme = down if direction < 0 else up
    if theme is None or not theme.words:
        return _Reading(Unlabeled(reason="the labels of the neurons it acts on predict no tokens"))
    if not _borne_out(evidence, theme, direction):
        return _Reading(Unlabeled(reason="what its downstream labels predict is not borne out by its own direction"))
    share = _passed(labeled) / max(_passed(evidence.downstream), 1e-12)
    strength = 0.1 + 0.25 * share + 0.15 * theme.focus + (0.2 if theme.name else 0.0)
    if strength < MIN_STRENGTH:
        why = f"weak: only {share:.0%} of what it drives is labeled, without a common theme"
        return _Reading(Unlabeled(reason=why))
    label = Label(
        label=phrase("routes to" if direction > 0 else "gates off", theme),
        description=f"Acts through {len(labeled)} labeled later neurons; {_through(labeled)}.",
        type="routing",
        confidence=round(0.3 + 0.6 * strength, 3),
        tokens=tuple(token.text for token in theme.tokens),
        token_ids=tuple(token.token_id for token in theme.tokens),
        direction=direction,
    )
    return _Reading(label, bool(theme.name))


def _works_through_others(evidence: OutputEvidence) -> bool:
    return evidence.direct_effect is not None and evidence.direct_effect.effect_type == "routing"


def _borne_out(evidence: OutputEvidence, theme: Theme, direction: int) -> bool:
    effect = evidence.direct_effect
    if (effect is not None and effect.der <= _NO_DIRECT) or not (
        evidence.promotes.tokens or evidence.suppresses.tokens
    ):
        return True
    named = {token.token_id for token in theme.tokens}
    moved = [token for listed in (evidence.promotes, evidence.suppresses) for token in listed.tokens]
    return sum(1 if token.weight * direction > 0 else -1 for token in moved if token.token_id in named) > 0


def _passed(neighbours: tuple[Neighbour, ...] | list[Neighbour]) -> float:
    return sum(neighbour.flow * neighbour.frequency for neighbour in neighbours)


def _through(labeled: list[Neighbour]) -> str:
    """`it chiefly drives L3/N5+ (promotes “Austin”)`."""
    strongest = max(labeled, key=lambda neighbour: neighbour.flow * neighbour.frequency)
    seen = strongest.label("output")
    does = "drives" if strongest.weight > 0 else "holds back"
    return f"it chiefly {does} {strongest.name}{f' ({seen.text})' if seen else ''}"


def _stands_out(down: Theme, up: Theme, *, times: float = _STRONGER_END) -> bool:
    """Whether the lowered end is the one to name: clearly stronger, or the only one with a common trait."""
    ratio = abs(down.tokens[0].weight) / abs(up.tokens[0].weight)
    return ratio > times or (bool(down.name) and not up.name and ratio > 1 / times)


def _measured(logits: TokenList, theme: Theme, direction: int) -> list[float]:
    """Measured effects on the logits of the theme's tokens, > 0 where they agree with the direction."""
    named = {token.token_id for token in theme.tokens}
    return [token.weight * direction for token in logits.tokens if token.token_id in named]


def _strength(theme: Theme, *, supported: bool) -> float:
    """How much the evidence says, 0..1. A neuron's own direction is a safe prediction however little its tokens have in common,
    so confidence starts at one half: on the demo model direct labels pass 0.9 of their trials at every strength."""
    shared = 0.25 if theme.name else 0.0
    return min(0.95, 0.1 + 0.5 * theme.focus + shared + (0.15 if supported else 0.0))


def _domain(evidence: OutputEvidence) -> str:
    """The prompt set the neuron is special to, if it clearly is."""
    seen = evidence.appearance
    if seen is None or seen.domain is None or seen.domain_specificity is None or seen.domain_z is None:
        return ""
    return seen.domain if seen.domain_specificity >= _DOMAIN and seen.domain_z >= _DOMAIN_Z else ""


def _type(evidence: OutputEvidence, theme: Theme, *, is_of_domain: bool) -> OutputType:
    if _works_through_others(evidence) and evidence.downstream:
        return "routing"
    if theme.name in FORMATTING:
        return "formatting"
    if theme.name in STRUCTURAL or theme.name in ("plural nouns", "singular nouns", "plural verbs", "singular verbs"):
        return "structural"
    if theme.kind in ("class", "context"):
        return "semantic"
    return "associative" if is_of_domain else "lexical"


def _describe(evidence: OutputEvidence, theme: Theme, direction: int, domain: str) -> str:
    verb, opposite = ("raises", "lowers") if direction > 0 else ("lowers", "raises")
    first = f"When it fires it {verb} the logits of {enumerate_words(theme.words, most=5)}"
    other = theme_of(evidence.suppresses if direction > 0 else evidence.promotes, sign=-direction)
    if other is not None and other.words:
        first += f" and {opposite} {enumerate_words(other.words, most=3)}"
    first += f", mostly in {domain} prompts." if domain else "."
    effect = evidence.direct_effect
    if effect is None:
        return first
    labeled = [neighbour for neighbour in evidence.downstream if neighbour.labels]
    through = f"; {_through(labeled)}" if labeled and effect.effect_type != "logit" else ""
    return f"{first} {effect.der:.0%} of its effect on answers is direct{through}."
