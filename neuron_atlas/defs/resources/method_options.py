"""Options of the methods: how prompts are traced, how neurons are clustered."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Literal

from pydantic import Field

from neuron_atlas.core.records import TraceOptions
from neuron_atlas.defs.storage.provenance import FingerprintedResource


class TracingResource(FingerprintedResource):
    """How prompts are traced: what is a target, what is kept, which linearisation rules."""

    k: int = Field(description="Top logits to trace when a prompt names no targets.")
    tau: float = Field(description="Node threshold, relative to |goal|.")
    rules: str = Field(description="Linearisation rule set.")
    fresh: bool = Field(
        default=False, description="Drop the unfinished prompts of an earlier run instead of resuming it."
    )

    def fingerprint(self, partition: str | None) -> str:
        return json.dumps(asdict(self.options()), sort_keys=True)

    def options(self) -> TraceOptions:
        """The options of a graph."""
        return TraceOptions(k=self.k, tau=self.tau, rules=self.rules)


class ClusteringResource(FingerprintedResource):
    """How neurons are clustered."""

    seed: int = Field(description="Random seed; the same seed gives the same clusters.")
    min_count: int = Field(description="Smallest number of prompts that show an edge of the flow graph.")
    method: Literal["infomap", "leiden"] = Field(description="How clusters are found.")
    signs: Literal["merged", "excitatory", "inhibitory", "layers"] = Field(
        description="Links of both signs together, of one sign, or of both in layers of their own."
    )

    def fingerprint(self, partition: str | None) -> str:
        return f"seed {self.seed}, edges seen {self.min_count} times, {self.method}, signs {self.signs}"
