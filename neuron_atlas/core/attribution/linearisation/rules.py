"""The named rule sets: what is held constant when a relevance is sent backwards.

    rule set     gate product a = f(g) u, with f(g) = c g         attention pattern   norm scale
    relp         1/2 (c u) g + 1/2 (c g) u, both factors frozen    frozen              frozen
    gate-frozen  (c g) u, the gate's factor frozen                 frozen              frozen
    half+qk      as relp                                           live                frozen
    gradient     the true derivative                               live                live

`relp` and `gate-frozen` make the whole model linear, so their edges come from the sweep and conserve: what flows into a
node is its value. `half+qk` and `gradient` are derivatives of the model as it is, taken by automatic differentiation;
their numbers do not sum to anything, and a graph says so by its conservation error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from neuron_atlas.errors import UnknownName


@dataclass(frozen=True, slots=True)
class RuleSet:
    """One rule set. `version` changes when its numbers would."""

    name: str
    version: int
    gate: Literal["half", "frozen", "live"]
    is_attention_frozen: bool
    are_norms_frozen: bool

    @property
    def identity(self) -> str:
        """What is stored with every graph: `relp/1`."""
        return f"{self.name}/{self.version}"

    @property
    def is_linear(self) -> bool:
        """Whether the frozen model is linear in the residual stream: the sweep applies and effects are conserved."""
        return self.gate != "live" and self.is_attention_frozen and self.are_norms_frozen


RULE_SETS: dict[str, RuleSet] = {
    rules.name: rules
    for rules in (
        RuleSet("relp", 1, "half", is_attention_frozen=True, are_norms_frozen=True),
        RuleSet("gate-frozen", 1, "frozen", is_attention_frozen=True, are_norms_frozen=True),
        RuleSet("half+qk", 1, "half", is_attention_frozen=False, are_norms_frozen=True),
        RuleSet("gradient", 1, "live", is_attention_frozen=False, are_norms_frozen=False),
    )
}


def rule_set(name: str) -> RuleSet:
    """The rule set of a name; raises `UnknownName`."""
    if name not in RULE_SETS:
        raise UnknownName("rule set", name, RULE_SETS)
    return RULE_SETS[name]
