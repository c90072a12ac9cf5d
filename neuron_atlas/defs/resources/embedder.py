"""The sentence embedder of semantic search: on this machine, or on an OpenAI-compatible server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from neuron_atlas.defs.storage.provenance import FingerprintedResource
from neuron_atlas.errors import Incomplete
from neuron_atlas.settings import load_settings, setting_description

if TYPE_CHECKING:
    from neuron_atlas.core.ports import Embedder


class EmbedderResource(FingerprintedResource):
    """Turns label texts into vectors for semantic search, on this machine or, named `openai:MODEL`, on a server. Weights are
    fetched once when missing, and every text is embedded once: vectors are kept beside the weights."""

    name: str = Field(description=setting_description("embedder"))
    base_url: str | None = Field(
        default=None, description="Address of the server of an openai:MODEL embedder; unset: OpenAI's own."
    )
    folder: str = Field(description="Folder of fetched weights and of all vectors.")

    def fingerprint(self, partition: str | None) -> str:
        return f"{self.name} {self.base_url or 'openai'}" if self._is_remote() else self.name

    def _is_remote(self) -> bool:
        from neuron_atlas.adapters.embedder import REMOTE

        return self.name.startswith(REMOTE)

    def load(self) -> Embedder:
        """The embedder; raises `Unreachable` when its weights are missing and cannot be fetched. A server is not contacted yet."""
        from neuron_atlas.adapters.embedder import CachedEmbedder

        embedder = self._on_server() if self._is_remote() else self._on_this_machine()
        return CachedEmbedder(embedder, Path(self.folder) / "vectors.sqlite")

    def _on_this_machine(self) -> Embedder:
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
