"""Evidence as text: exactly what a labeler that reads sees.

Everything that came out of texts or other labels (tokens, exemplars, labels) is written as JSON strings, exemplars in one
block at the end between `DATA` and `END OF DATA`. JSON leaves no way out of a string, so a text cannot pose as an
instruction or close the block; angle brackets are escaped too. Numbers are rounded to what a reader needs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from neuron_atlas.core.labeling.evidence.evidence_record import (
    Association,
    Evidence,
    Exemplar,
    InputEvidence,
    Neighbour,
    OutputEvidence,
    TokenList,
)

_ESCAPED = re.compile(r"[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff<>]")
_STEPS = 9
"""Activations in exemplars are shown in whole steps of the strongest, 0 to 9."""


def render(evidence: Evidence) -> str:
    """The evidence as lines of text, the exemplars last."""
    lines = [f"Neuron {evidence.name} (layer {evidence.layer}, fires with sign {evidence.polarity:+d})"]
    lines += _appearance(evidence)
    lines += _prior(evidence)
    lines += _output(evidence) if isinstance(evidence, OutputEvidence) else _input(evidence)
    return "\n".join(lines)


def quote(text: str) -> str:
    """A JSON string on one line, whatever a reader takes for a line break, without angle brackets or invisible characters."""
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))


def _appearance(evidence: Evidence) -> list[str]:
    seen = evidence.appearance
    if seen is None:
        return ["Appears in no attribution graph."]
    line = f"Appears in {seen.n_prompts} prompts ({seen.frequency:.0%} of all)"
    if seen.domain is not None and seen.domain_specificity is not None:
        line += f"; most over-represented in prompt set {quote(seen.domain)} (specificity {seen.domain_specificity:.2f}"
        line += f", z {seen.domain_z:.1f})" if seen.domain_z is not None else ")"
    return [f"{line}."]


def _prior(evidence: Evidence) -> list[str]:
    """Labels from elsewhere, as what they are."""
    claims = "; ".join(f"{one.side}: {quote(one.text)} (by {quote(one.by)})" for one in evidence.prior)
    return [f"Labels it got elsewhere (claims to weigh, not measurements): {claims}."] if claims else []


def _output(evidence: OutputEvidence) -> list[str]:
    effect = evidence.direct_effect
    lines = [
        f"Direct share of its effect on answers: {effect.der:.2f} ({effect.effect_type}, {effect.n} instances"
        f"{'' if effect.by_ablation is None else f'; {effect.by_ablation:.2f} by ablation'})."
        if effect is not None
        else "Direct share of its effect on answers: not measured."
    ]
    lines += _tokens("Raises these tokens through the unembedding (logit lens)", evidence.promotes)
    lines += _tokens("Lowers these tokens through the unembedding (logit lens)", evidence.suppresses)
    lines += _tokens("Measured direct effect on traced logits", evidence.logits)
    lines += _neighbours("Later neurons it acts on", evidence.downstream, "drives", "inhibits")
    lines += _tokens("Tokens that the labels of those neurons predict, weighted by relevance", evidence.routed)
    return lines


def _input(evidence: InputEvidence) -> list[str]:
    known = quote(evidence.output_label) if evidence.output_label is not None else "unknown"
    lines = [f"What it does when it fires: {known}."]
    lines += _tokens("Tokens whose embedding alone would drive it", evidence.drives)
    lines += _tokens("Tokens it fired on (share of its activation where it fires in the texts seen)", evidence.firing)
    lines += _tokens(
        "Tokens that stand before its peaks more often than elsewhere (share of top texts)", evidence.before
    )
    if evidence.precision is not None:
        lines.append(f"In random texts those it fired on make it fire {evidence.precision:.0%} of the time.")
    if evidence.near_misses:
        lines.append(f"{evidence.near_misses} occurrences of them were seen that leave it low.")
    if evidence.position is not None:
        lines.append(
            f"{evidence.position.share:.0%} of its peaks stand at token position {evidence.position.position}."
        )
    lines += _tokens("Token embeddings that drive it in graphs (share of its activation)", evidence.embeddings)
    lines += _associations("Over-represented where it appears in graphs", evidence.associations)
    lines += _associations("Over-represented just before", evidence.associations_window)
    lines += _neighbours("Earlier neurons that act on it", evidence.upstream, "excites it", "inhibits it")
    lines += _tokens("Tokens that make those neurons fire, weighted by relevance", evidence.gated)
    lines += _neighbours("Neurons that appear with it", evidence.cooccurring, "overlap", "overlap")
    lines.append("DATA: one JSON object a line. `fires` and `stays low` are texts as lists of [token, activation 0-9].")
    top = max((max(text.activations) for text in evidence.exemplars), default=0.0)
    lines += [_exemplar("fires", text, top) for text in evidence.exemplars]
    lines += [_exemplar("stays low", text, top) for text in evidence.others]
    lines.append("END OF DATA")
    return lines


def _tokens(title: str, listed: TokenList) -> list[str]:
    if not listed.tokens:
        return []
    lines = [f"{title}: {', '.join(f'{quote(t.text)} {_weight(t.weight)}' for t in listed.tokens)}."]
    for trait in listed.shared:
        lines.append(
            f"  {len(trait.token_ids)} of the strongest {trait.of} have in common ({trait.kind}): {quote(trait.name)}; "
            f"so do {trait.base:.0%} of all tokens."
        )
    return lines


def _weight(value: float) -> str:
    """With its sign, to two decimals; a small one to two digits, so that it is not nothing."""
    return f"{value:+.2f}" if abs(value) >= 0.1 else f"{value:+.2g}"


def _associations(title: str, found: Sequence[Association]) -> list[str]:
    shown = ", ".join(f"{quote(a.text)} x{a.lift:.1f} ({a.frequency:.0%}, n {a.n})" for a in found)
    return [f"{title}: {shown}."] if found else []


def _neighbours(title: str, found: Iterable[Neighbour], plus: str, minus: str) -> list[str]:
    lines: list[str] = []
    for one in found:
        how = plus if one.weight > 0 else minus
        labels = "; ".join(f"{seen.side}: {quote(seen.text)}" for seen in one.labels) or "no label"
        lines.append(f"  {one.name} {how} {_weight(one.weight)}, in {one.frequency:.0%} of its prompts; {labels}")
    return [f"{title}:", *lines] if lines else []


def _exemplar(kind: str, text: Exemplar, top: float) -> str:
    steps = [round(_STEPS * min(1.0, max(0.0, a) / max(top, 1e-12))) for a in text.activations]
    pairs = ", ".join(f"[{quote(token)}, {step}]" for token, step in zip(text.tokens, steps, strict=True))
    return f"{{{quote(kind)}: [{pairs}]}}"
