"""Names of modules by rules, from their members' labels (`module_evidence.py`).

A name has a **theme** and **tokens**: "promotes state capitals: Salem, Boise, Austin". The theme is what the members' output labels
say before the colon, if one theme holds at least a quarter of the labeled members (by their shares), with the tokens of those very
labels; else the prompt set to which at least half of the members are specific; else simply what the module promotes. A module
without labels and tokens stays unlabeled, with the reason. The model is not asked here; `ablation_scores.py` tests the names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from neuron_atlas.core.circuits.naming.module_evidence import ModuleEvidence
from neuron_atlas.core.labeling.evidence.labeler_answer import enumerate_words, is_quotable

MIN_THEME_SHARE = 0.25
"""The smallest share of a module's labeled members that must agree on a theme."""

MIN_PROMPT_SET_SHARE = 0.5
"""The smallest share of a module's members that must be specific to one prompt set for that set to name it."""

MAX_WORDS = 8
"""Words of a label."""


@dataclass(frozen=True, slots=True)
class ModuleName:
    """A label and description, or the reason why there is none.

    `tokens` are those that the label names, empty where it names all that the module promotes; `is_lost`: the answer was unusable,
    and asking again may help.
    """

    label: str | None
    description: str | None
    unlabeled_reason: str | None
    tokens: tuple[str, ...] = ()
    is_lost: bool = False


def name_module(evidence: ModuleEvidence) -> ModuleName:
    """Compose a label of at most 8 words and a description of two sentences."""
    label = _label(evidence)
    if label is None:
        return ModuleName(None, None, "no member has a label and none promotes a readable token")
    return ModuleName(label, _description(evidence), None)


def _label(evidence: ModuleEvidence) -> str | None:
    if evidence.does and evidence.does[0].share >= MIN_THEME_SHARE:
        return _with_examples(evidence.does[0].text, evidence.does[0].tokens)
    if evidence.prompt_sets and evidence.prompt_sets[0].share >= MIN_PROMPT_SET_SHARE:
        return _with_examples(f"{evidence.prompt_sets[0].text} circuit", evidence.tokens)
    promoted = _examples(evidence.tokens, "promotes and")
    return f"promotes {enumerate_words(promoted)}" if promoted else None


def _with_examples(theme: str, tokens: Sequence[str]) -> str:
    words = " ".join(theme.split()[:MAX_WORDS])
    examples = _examples(tokens, words)
    return f"{words}: {', '.join(examples)}" if examples else words


def _examples(tokens: Sequence[str], said: str) -> list[str]:
    """Up to three tokens that may be shown, are not said already, and leave the label within `MAX_WORDS` words."""
    known = {word.strip("“”\"'").casefold() for word in said.split()}
    fresh = dict.fromkeys(t.strip() for t in tokens if is_quotable(t) and t.strip().casefold() not in known)
    return list(fresh)[: max(0, min(3, MAX_WORDS - len(said.split())))]


def _description(evidence: ModuleEvidence) -> str:
    layers = (
        f"layer {evidence.layer_min}"
        if evidence.layer_min == evidence.layer_max
        else f"layers {evidence.layer_min} to {evidence.layer_max}"
    )
    first = f"{evidence.size} neurons in {layers} with {evidence.flow:.1%} of the flow"
    if evidence.does and evidence.does[0].share >= MIN_THEME_SHARE:
        first += f"; {evidence.does[0].share:.0%} of what is labeled {evidence.does[0].text}"
    if evidence.prompt_sets:
        first += f"; most at home in {evidence.prompt_sets[0].text} ({evidence.prompt_sets[0].share:.0%})"
    second: list[str] = []
    if evidence.fires_on:
        second.append(f"{evidence.fires_on[0].text} ({evidence.fires_on[0].share:.0%} of the labeled inputs)")
    if evidence.receives:
        second.append(f"hears most from cluster {evidence.receives[0].text} ({evidence.receives[0].share:.0%})")
    if evidence.sends:
        second.append(f"tells most to cluster {evidence.sends[0].text} ({evidence.sends[0].share:.0%})")
    tail = "; ".join(second)
    return f"{first}." + (f" {tail[0].upper()}{tail[1:]}." if tail else "")
