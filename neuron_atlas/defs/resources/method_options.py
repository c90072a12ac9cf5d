"""Options of the methods: how prompts are traced, how neurons are clustered."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Literal

from pydantic import Field

from neuron_atlas.core.records import TraceOptions
from neuron_atlas.defs.storage.provenance import FingerprintedResource
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
        """The options of a graph."""
        return TraceOptions(k=self.k, tau=self.tau, rules=self.rules)


class ClusteringResource(FingerprintedResource):
    """How neurons are clustered."""

    seed: int = Field(description=setting_description("cluster_seed"))
    min_count: int = Field(description=setting_description("min_edge_count"))
    method: Literal["infomap", "leiden"] = Field(description=setting_description("cluster_method"))
    signs: Literal["merged", "excitatory", "inhibitory", "layers"] = Field(
        description=setting_description("cluster_signs")
    )

    def fingerprint(self, partition: str | None) -> str:
        return f"seed {self.seed}, edges seen {self.min_count} times, {self.method}, signs {self.signs}"
