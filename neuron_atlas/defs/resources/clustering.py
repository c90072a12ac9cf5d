"""How neurons are clustered: options that become part of provenance."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from neuron_atlas.defs.storage.provenance import FingerprintedResource
from neuron_atlas.settings import setting_description


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
