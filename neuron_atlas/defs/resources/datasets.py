"""Prompt sets, text corpora, and the analyses of single prompts: the files that assets read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from neuron_atlas.adapters.datasets.corpora import corpus_hash, read_corpus
from neuron_atlas.adapters.datasets.prompt_sets import read_prompt_set
from neuron_atlas.core.hashing import content_hash
from neuron_atlas.core.records import PromptSet
from neuron_atlas.defs.storage.provenance import FingerprintedResource
from neuron_atlas.errors import BadInput

if TYPE_CHECKING:
    from neuron_atlas.adapters.analyses.analysis_store import AnalysisStore


class PromptSetsResource(FingerprintedResource):
    """The prompt folder; a partition of `raw_graphs` is one of its files."""

    folder: str

    def fingerprint(self, partition: str | None) -> str:
        prompt_set = self.read(_required("prompt set", partition))
        return content_hash(
            [prompt_set.kind, [p.prompt_id for p in prompt_set.prompts], [dict(p.tags) for p in prompt_set.prompts]]
        )

    def read(self, name: str) -> PromptSet:
        """One prompt set; raises `UnknownName` or `BadInput`."""
        return read_prompt_set(Path(self.folder), name)


class CorporaResource(FingerprintedResource):
    """The corpus folder; a partition of `activation_stats` is one of its files."""

    folder: str

    def fingerprint(self, partition: str | None) -> str:
        return corpus_hash(Path(self.folder), _required("corpus", partition))

    def read(self, name: str) -> list[str]:
        """The texts of one corpus; raises `UnknownName` or `BadInput`."""
        return read_corpus(Path(self.folder), name)


class AnalysesResource(FingerprintedResource):
    """The analyses that `neuron-atlas analyze` has stored."""

    folder: str

    def fingerprint(self, partition: str | None) -> str:
        return self.open().fingerprint()

    def open(self) -> AnalysisStore:
        """The store."""
        from neuron_atlas.adapters.analyses.analysis_store import AnalysisStore

        return AnalysisStore(Path(self.folder))


def _required(kind: str, partition: str | None) -> str:
    if partition is None:
        raise BadInput(f"expected --partition with the name of a {kind}, got none")
    return partition
