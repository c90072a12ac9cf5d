"""The model under study."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from pydantic import Field

from neuron_atlas.adapters.subject_model.config import find_folder, read_model_config
from neuron_atlas.core.records import ModelSpec
from neuron_atlas.defs.storage.provenance import FingerprintedResource
from neuron_atlas.settings import setting_description

if TYPE_CHECKING:
    from neuron_atlas.adapters.subject_model.huggingface import HuggingFaceModel
    from neuron_atlas.adapters.subject_model.tokens import TokenReader


class ModelResource(FingerprintedResource):
    """The model under study, loaded once per process; its sizes, revision and tokens are known without loading it."""

    id_or_path: str = Field(description=setting_description("model"))
    device: str | None = Field(default=None, description=setting_description("device"))
    dtype: str | None = Field(default=None, description=setting_description("dtype"))

    def fingerprint(self, partition: str | None) -> str:
        return f"{self.spec().revision} {self.spec().dtype}"

    def spec(self) -> ModelSpec:
        """What the model is, without loading its weights."""
        return _model_spec(self.id_or_path, self.dtype)

    def tokens(self) -> TokenReader:
        """The tokenizer alone."""
        return _load_tokens(self.id_or_path)

    def facts(self) -> dict[str, str]:
        """What the atlas records about its model."""
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
