"""Rules for the output pass: what does a neuron do when it fires?

Three readings compete, and the measured direct-effect ratio says which may speak first. A **direct** reading names the
theme of the tokens that the neuron raises (or, when only that end stands out, lowers) through the unembedding. A
**routing** reading names the theme of what the neurons it drives are labeled to do. Measured edges to traced logits
support or contradict a direct reading; a contradicted or shapeless reading is not made into a label.
"""

from __future__ import annotations

from neuron_atlas.core.labeling.evidence import Label, OutputEvidence, OutputType, Polarity, TokenList, Unlabeled
from neuron_atlas.core.labeling.word_classes import FORMATTING, STRUCTURAL
from neuron_atlas.core.labeling.wording import Theme, enumerate_words, phrase, theme_of

MIN_CONFIDENCE = 0.35
"""Below this the rules say that they do not know."""
_STRONGER_END = 1.5
_DOMAIN = 0.8
_DOMAIN_Z = 2.0


def explain_output(evidence: OutputEvidence) -> Label | Unlabeled:
    """A label for what the neuron does, or why there is none."""
    direct, routing = _direct(evidence), _routing(evidence)
    effect = evidence.direct_effect
    first, second = (routing, direct) if effect is not None and effect.effect_type == "routing" else (direct, routing)
    for reading in (first, second):
        if isinstance(reading, Label):
            return reading
    return first if isinstance(first, Unlabeled) else Unlabeled(reason="no output projection and no labeled downstream")


def _direct(evidence: OutputEvidence) -> Label | Unlabeled:
    up, down = theme_of(evidence.promotes), theme_of(evidence.suppresses, sign=-1)
    if up is None and down is None:
        up = theme_of(evidence.logits)
        if up is None:
            return Unlabeled(reason="no tokens are raised or lowered directly")
    direction: Polarity = -1 if up is None or (down is not None and _stands_out(down, up)) else 1
    theme = down if direction < 0 else up
    if theme is None or not theme.words:
        return Unlabeled(reason="the tokens it raises cannot be shown as text")
    support = _support(evidence.logits, theme, direction)
    if support < 0:
        return Unlabeled(reason="contradictory: measured logits move against the output projection")
    confidence = _confidence(evidence, theme, support)
    if confidence < MIN_CONFIDENCE:
        return Unlabeled(
            reason=f"weak: the tokens it raises share nothing and none stands out (focus {theme.focus:.2f})"
        )
    verb = "promotes" if direction > 0 else "suppresses"
    domain = _domain(evidence)
    return Label(
        label=phrase(verb, theme, of=domain),
        description=_describe(evidence, theme, direction, domain),
        type=_type(theme, domain),
        confidence=confidence,
        tokens=tuple(token.text for token in theme.tokens),
        token_ids=tuple(token.token_id for token in theme.tokens),
        direction=direction,
    )


def _routing(evidence: OutputEvidence) -> Label | Unlabeled:
    labeled = [neighbour for neighbour in evidence.downstream if neighbour.labels]
    if not labeled:
        return Unlabeled(reason="works through later neurons, none of which is labeled")
    up, down = theme_of(evidence.routed), theme_of(evidence.routed, sign=-1)
    direction: Polarity = -1 if up is None or (down is not None and _stands_out(down, up, times=1.0)) else 1
    theme = down if direction < 0 else up
    if theme is None or not theme.words:
        return Unlabeled(reason="the labels of the neurons it acts on predict no tokens")
    driven = sum(1 for neighbour in labeled if neighbour.weight * direction > 0)
    total = sum(abs(n.weight) * n.frequency for n in evidence.downstream)
    share = sum(abs(n.weight) * n.frequency for n in labeled) / total if total else 0.0
    confidence = round(min(0.9, 0.15 + 0.35 * share + 0.2 * theme.focus + (0.2 if theme.name else 0.0)), 3)
    if confidence < MIN_CONFIDENCE:
        return Unlabeled(reason=f"weak: only {share:.0%} of what it drives is labeled, without a common theme")
    strongest = max(labeled, key=lambda n: abs(n.weight) * n.frequency)
    seen = strongest.label("output")
    does = "drives" if strongest.weight > 0 else "holds back"
    return Label(
        label=phrase("routes to" if direction > 0 else "gates off", theme),
        description=(
            f"Acts through {driven} labeled later neurons; it chiefly {does} {strongest.name}"
            f"{f' ({seen.text})' if seen else ''}."
        ),
        type="routing",
        confidence=confidence,
        tokens=tuple(token.text for token in theme.tokens),
        token_ids=tuple(token.token_id for token in theme.tokens),
        direction=direction,
    )


def _stands_out(down: Theme, up: Theme, *, times: float = _STRONGER_END) -> bool:
    """Whether the lowered end is the one to name: clearly stronger, or the only one with a common trait."""
    ratio = abs(down.tokens[0].weight) / abs(up.tokens[0].weight)
    return ratio > times or (bool(down.name) and not up.name and ratio > 1 / times)


def _support(logits: TokenList, theme: Theme, direction: int) -> float:
    """Measured logit effects on the theme's tokens in its direction: 1 all agree, -1 all disagree, 0 none measured."""
    named = {token.token_id for token in theme.tokens}
    weights = [token.weight * direction for token in logits.tokens if token.token_id in named]
    total = sum(abs(weight) for weight in weights)
    return sum(weights) / total if total else 0.0


def _confidence(evidence: OutputEvidence, theme: Theme, support: float) -> float:
    effect = evidence.direct_effect
    directness = effect.der - 0.5 if effect is not None else 0.0
    shared = 0.25 if theme.name else 0.0
    return round(min(0.95, max(0.0, 0.1 + 0.5 * theme.focus + shared + 0.15 * support + 0.2 * directness)), 3)


def _domain(evidence: OutputEvidence) -> str:
    """The prompt set the neuron is special to, if it clearly is."""
    seen = evidence.appearance
    if seen is None or seen.domain is None or seen.domain_specificity is None or seen.domain_z is None:
        return ""
    return seen.domain if seen.domain_specificity >= _DOMAIN and seen.domain_z >= _DOMAIN_Z else ""


def _type(theme: Theme, domain: str) -> OutputType:
    if theme.name in FORMATTING:
        return "formatting"
    if theme.name in STRUCTURAL or theme.name in ("plural nouns", "singular nouns", "plural verbs", "singular verbs"):
        return "structural"
    if theme.kind in ("class", "context"):
        return "semantic"
    return "associative" if domain and len(theme.tokens) > 1 else "lexical"


def _describe(evidence: OutputEvidence, theme: Theme, direction: int, domain: str) -> str:
    verb = "raises" if direction > 0 else "lowers"
    words = enumerate_words(theme.words, most=5)
    effect = evidence.direct_effect
    how = "" if effect is None else f", {effect.der:.0%} of it directly"
    first = f"When it fires it {verb} the logits of {words}{how}."
    other = theme_of(evidence.suppresses if direction > 0 else evidence.promotes, sign=-direction)
    opposite = "lowers" if direction > 0 else "raises"
    second = f" It {opposite} {enumerate_words(other.words, most=3)}" if other is not None and other.words else ""
    place = f"mostly in {domain} prompts" if domain else ""
    if second:
        return f"{first}{second}{f', {place}' if place else ''}."
    return f"{first}{f' It appears {place}.' if place else ''}"
