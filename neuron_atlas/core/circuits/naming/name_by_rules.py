"""What a module is called: from its members' labels, weighted by their voices (see `members`).

A cluster label has a **theme** and its **tokens**: "promotes state capitals: Salem, Boise, Austin". The theme is what the members'
output labels say before the colon, if one reading holds at least a quarter of the labeled voices, with the tokens of those
very labels; else the prompt set in which most voices are at home; else simply what the module promotes. A module without
labels and tokens stays unlabeled, with the reason. Nothing here looks at the model; `ablation` tests the names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from neuron_atlas.core.labeling.evidence.label_record import enumerate_words, is_quotable

AGREEMENT = 0.25
"""The least share of a module's labeled voices that must agree on a theme."""

AT_HOME = 0.5
"""The least share of a module's voices in neurons of one prompt set for that set to name it."""

MAX_WORDS = 8
"""Words of a label."""


@dataclass(frozen=True, slots=True)
class Share:
    """Something several members have in common, the share 0..1 of their voices that has it, and tokens that go with it."""

    text: str
    share: float
    tokens: Sequence[str] = ()


@dataclass(frozen=True)
class ModuleEvidence:
    """What is known of one module. Lists are in falling order of share; `flow` is its share 0..1 of all flow.

    `does` and `fires_on` are the themes of output and input labels (shares of the voices that carry such labels), `homes`
    prompt sets, `tokens` what the members promote, `receives` and `sends` other modules by path (shares of the |flow| that
    crosses the module's border inward and outward).
    """

    path: str
    size: int
    flow: float
    layer_min: int
    layer_max: int
    does: Sequence[Share]
    fires_on: Sequence[Share]
    homes: Sequence[Share]
    tokens: Sequence[str]
    receives: Sequence[Share]
    sends: Sequence[Share]


@dataclass(frozen=True, slots=True)
class ModuleName:
    """A label and description, or the reason why there is none.

    `tokens` are those the label stands for, empty where it stands for all that the module promotes; `is_lost`: asking again
    may help.
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
    if evidence.does and evidence.does[0].share >= AGREEMENT:
        return _with_examples(evidence.does[0].text, evidence.does[0].tokens)
    if evidence.homes and evidence.homes[0].share >= AT_HOME:
        return _with_examples(f"{evidence.homes[0].text} circuit", evidence.tokens)
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
    if evidence.does and evidence.does[0].share >= AGREEMENT:
        first += f"; {evidence.does[0].share:.0%} of what is labeled {evidence.does[0].text}"
    if evidence.homes:
        first += f"; most at home in {evidence.homes[0].text} ({evidence.homes[0].share:.0%})"
    second: list[str] = []
    if evidence.fires_on:
        second.append(f"{evidence.fires_on[0].text} ({evidence.fires_on[0].share:.0%} of the labeled inputs)")
    if evidence.receives:
        second.append(f"hears most from cluster {evidence.receives[0].text} ({evidence.receives[0].share:.0%})")
    if evidence.sends:
        second.append(f"tells most to cluster {evidence.sends[0].text} ({evidence.sends[0].share:.0%})")
    tail = "; ".join(second)
    return f"{first}." + (f" {tail[0].upper()}{tail[1:]}." if tail else "")
