"""How prompts are traced: options that become part of provenance."""

from __future__ import annotations

import json
from dataclasses import asdict

from pydantic import Field

from neuron_atlas.core.attribution.linearisation.rules import RULE_SETS, rule_set
from neuron_atlas.core.records import TraceOptions
from neuron_atlas.defs.storage.provenance import FingerprintedResource
from neuron_atlas.errors import BadInput
from neuron_atlas.settings import setting_description


class TracingResource(FingerprintedResource):
    """How prompts are traced: which tokens are targets, which neurons are kept, which linearisation rules apply."""

    k: int = Field(description=setting_description("k"))
    tau: float = Field(description=setting_description("tau"))
    rules: str = Field(description=setting_description("rules"))
    fresh: bool = Field(
        default=False, description="Drop the unfinished prompts of an earlier run instead of resuming it."
    )

    def fingerprint(self, partition: str | None) -> str:
        return json.dumps(asdict(self.options()), sort_keys=True)

    def options(self) -> TraceOptions:
        """The options of a graph.

        Raises `UnknownName` for a rule set that does not exist, `BadInput` for one that is not linear: its effects do not add up,
        so that every graph would be refused before it is stored.
        """
        if not rule_set(self.rules).is_linear:
            linear = ", ".join(name for name, rules in RULE_SETS.items() if rules.is_linear)
            raise BadInput(
                f"raw_graphs needs linear rules ({linear}), under which effects add up; NEURON_ATLAS_RULES is {self.rules!r}. "
                "Graphs of single prompts take it: neuron-atlas graph --rules"
            )
        return TraceOptions(k=self.k, tau=self.tau, rules=self.rules)
