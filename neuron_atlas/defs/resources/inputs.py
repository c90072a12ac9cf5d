"""What shapes results besides tables: the model, how it is traced, prompts, corpora, the embedder.
The labeler is in labelers.py.

Thin factories, config in, object out. Each is an `FingerprintedResource`: its identity becomes part of every recipe it took part in, so
a changed model, prompt file or threshold makes exactly what was made with it out of date. The Dagster UI shows the values,
which come from `Settings`, and lets one run override them. API keys are no configuration: they are read from the environment
when a client is made, and Dagster never sees them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from neuron_atlas.adapters.datasets.corpora import corpus_hash, read_corpus
from neuron_atlas.adapters.datasets.prompt_sets import read_prompt_set
from neuron_atlas.adapters.subject_model.config import find_folder, read_model_config
from neuron_atlas.core.hashing import content_hash
from neuron_atlas.core.records import ModelSpec, PromptSet, TraceOptions
from neuron_atlas.defs.storage.provenance import FingerprintedResource
from neuron_atlas.errors import BadInput, Incomplete
from neuron_atlas.settings import load_settings

if TYPE_CHECKING:
    from neuron_atlas.adapters.analyses.analysis_store import AnalysisStore
    from neuron_atlas.adapters.subject_model.huggingface import HuggingFaceModel
    from neuron_atlas.adapters.subject_model.tokens import TokenReader
    from neuron_atlas.core.ports import Embedder


class ModelResource(FingerprintedResource):
    """The model under study, loaded once per process; its sizes, revision and tokens are known without loading it."""

    id_or_path: str = Field(description="Hugging Face id or local folder.")
    device: str | None = Field(default=None, description="torch device; default cuda where there is one, else cpu.")
    dtype: str | None = Field(
        default=None, description="dtype of the forward pass; float32 (the default, exact) or bfloat16."
    )

    def fingerprint(self, partition: str | None) -> str:
        return f"{self.spec().revision} {self.spec().dtype}"

    def spec(self) -> ModelSpec:
        """What the model is, without loading its weights."""
        return _model_spec(self.id_or_path, self.dtype)

    def tokens(self) -> TokenReader:
        """The tokenizer alone."""
        return _load_tokens(self.id_or_path)

    def facts(self) -> dict[str, str]:
        """What the atlas says of its model."""
        spec = self.spec()
        return {
            "model_id": spec.model_id,
            "model_revision": spec.revision,
            "architecture": spec.architecture,
            "n_layers": str(spec.n_layers),
            "n_neurons": str(spec.n_neurons),
        }

    def vocabulary(self) -> Mapping[int, str]:
        """Token id to readable text."""
        reader = self.tokens()
        return {token_id: reader.token_text(token_id) for token_id in range(self.spec().vocab_size)}

    def load(self) -> HuggingFaceModel:
        """The model itself; imports torch."""
        return _load_model(self.id_or_path, self.device, self.dtype)


@lru_cache(maxsize=4)
def _model_spec(id_or_path: str, dtype: str | None) -> ModelSpec:
    from neuron_atlas.adapters.subject_model.load import describe_model

    return describe_model(id_or_path, dtype=dtype)


@lru_cache(maxsize=1)
def _load_tokens(id_or_path: str) -> TokenReader:
    from neuron_atlas.adapters.subject_model.tokens import load_tokenizer

    return load_tokenizer(find_folder(id_or_path), max_positions=read_model_config(id_or_path).max_positions)


@lru_cache(maxsize=1)
def _load_model(id_or_path: str, device: str | None, dtype: str | None) -> HuggingFaceModel:
    from neuron_atlas.adapters.subject_model.load import load_model
    from neuron_atlas.core.attribution.linearisation.torch_threads import use_suited_threads

    model = load_model(id_or_path, device=device, dtype=dtype)
    use_suited_threads(model.spec.d_model)
    return model


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


class PromptSetsResource(FingerprintedResource):
    """The prompt folder; a partition of `raw_graphs` is one of its files."""

    folder: str

    def fingerprint(self, partition: str | None) -> str:
        prompt_set = self.read(_named("prompt set", partition))
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
        return corpus_hash(Path(self.folder), _named("corpus", partition))

    def read(self, name: str) -> list[str]:
        """The texts of one corpus; raises `UnknownName` or `BadInput`."""
        return read_corpus(Path(self.folder), name)


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


class AnalysesResource(FingerprintedResource):
    """The circuits of single prompts that people have analysed."""

    folder: str

    def fingerprint(self, partition: str | None) -> str:
        return self.open().fingerprint()

    def open(self) -> AnalysisStore:
        """The store."""
        from neuron_atlas.adapters.analyses.analysis_store import AnalysisStore

        return AnalysisStore(Path(self.folder))


class EmbedderResource(FingerprintedResource):
    """Turns label texts into vectors for semantic search, on this machine or, named `openai:MODEL`, on a server. Weights are
    fetched once when missing, and every text is embedded once: vectors are kept beside the weights."""

    name: str
    base_url: str | None = Field(default=None, description="The server of an openai:MODEL; unset: OpenAI's own.")
    folder: str = Field(description="Where fetched weights, and all vectors, are kept.")

    def fingerprint(self, partition: str | None) -> str:
        return f"{self.name} {self.base_url or 'openai'}" if self._is_remote() else self.name

    def _is_remote(self) -> bool:
        from neuron_atlas.adapters.embedder import REMOTE

        return self.name.startswith(REMOTE)

    def load(self) -> Embedder:
        """The embedder; raises `Unreachable` when its weights are nowhere and cannot be fetched. A server is not asked yet."""
        from neuron_atlas.adapters.embedder import CachedEmbedder

        embedder = self._on_server() if self._is_remote() else self._here()
        return CachedEmbedder(embedder, Path(self.folder) / "vectors.sqlite")

    def _here(self) -> Embedder:
        from neuron_atlas.adapters.embedder import fetch_weights, load_embedder

        folder = Path(self.folder)
        try:
            return load_embedder(self.name, folder=folder)
        except Incomplete:
            fetch_weights(folder, self.name)
            return load_embedder(self.name, folder=folder)

    def _on_server(self) -> Embedder:
        from neuron_atlas.adapters.embedder.remote import RemoteEmbedder
        from neuron_atlas.adapters.language_model import keep_out_of_logs

        _, key = load_settings().embedder_server
        keep_out_of_logs(key)
        return RemoteEmbedder(self.name, api_key=key, base_url=self.base_url)


def _named(kind: str, partition: str | None) -> str:
    if partition is None:
        raise BadInput(f"a {kind} is a partition; expected --partition NAME, got none")
    return partition
