"""What core needs of models, embedders and language models, as Protocols. Adapters implement them; tests bring small real ones.

Arrays are numpy, float32 unless said otherwise; axes are named in capitals: T tokens, D width, I neurons per layer,
V vocabulary, L layers, B batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from neuron_atlas.core.llm_requests import LlmRequest, NoReply, Reply
from neuron_atlas.core.records import Edit, ModelSpec, Prompt

Array = NDArray[np.float32]


@dataclass(frozen=True)
class MlpWeights:
    """One layer's MLP as it stands in the model, fp32.

    `gate` [I, D] is None without a gate (GPT-2: then `up` alone feeds the activation function); `up` [I, D]; `down` [D, I];
    `bias_*` are None where the model has none. `norm` [D] scales the input of the MLP (Gemma's 1+w already added), None for
    post-norm models; `norm_kind` says which norm it is; `act` names the activation function.
    """

    layer: int
    gate: Array | None
    up: Array
    down: Array
    bias_gate: Array | None
    bias_up: Array | None
    norm: Array | None
    norm_bias: Array | None
    norm_kind: Literal["rms", "layer", "none"]
    norm_eps: float
    act: Literal["silu", "gelu", "gelu_tanh", "relu"]
    post_norm: Array | None = None
    """Scale [D] of the norm that the MLP's output passes before it joins the stream (OLMo-2, Gemma-2; 1+w added); else None."""


@dataclass(frozen=True)
class VocabWeights:
    """Embedding [V, D] (as it enters layer 0, scale included, positions left out), unembedding [V, D] as it stands, and the
    final norm's weight [D] (1+w added for Gemma) with its kind."""

    embedding: Array
    unembedding: Array
    final_norm: Array
    final_norm_kind: Literal["rms", "layer"]


class SubjectModel(Protocol):
    """The model under study."""

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids the tokenizer itself flags as special (BOS, EOS, padding …)."""
        ...

    def token_text(self, token_id: int) -> str:
        """Readable text of one token; a leading space is kept."""
        ...

    def encode(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt: chat template unless raw, answer prefix appended, exactly one BOS if the model has one."""
        ...

    def token_id(self, text: str) -> tuple[int, bool]:
        """The id of a target word and whether it is the whole word (False: only its first token)."""
        ...

    def activations(self, token_ids: Sequence[Sequence[int]]) -> Iterable[Array]:
        """Inputs of every down projection, one [L, T, I] array per sequence, in order."""
        ...

    def logits(self, token_ids: Sequence[int], *, edits: Sequence[Sequence[Edit]] = ((),), position: int = -1) -> Array:
        """Logits [B, V] (fp32 head) at one position: the real model run once per list of edits, batched."""
        ...

    def final_stream(
        self, token_ids: Sequence[int], *, edits: Sequence[Sequence[Edit]] = ((),), position: int = -1
    ) -> Array:
        """The residual stream [B, D] (fp32) that enters the final norm at one position, batched as in `logits`."""
        ...

    def frozen_scales(self, token_ids: Sequence[int], *, position: int = -1) -> Array:
        """The scales of the norms after the neurons at one position, frozen as in the clean run: [L + 1] fp32, 1/rms (1/std for
        LayerNorm) of every layer's post-MLP norm (1 without one), then of the final norm. Norm weights are not included."""
        ...

    def mlp_weights(self, layer: int) -> MlpWeights: ...

    def vocab_weights(self) -> VocabWeights: ...


class Embedder(Protocol):
    """Text to unit vectors."""

    @property
    def embedder_id(self) -> str:
        """Name and version, stored with the vectors; vectors of another embedder are refused."""
        ...

    @property
    def dimension(self) -> int: ...

    def embed(self, texts: Sequence[str]) -> Array:
        """[len(texts), dimension], L2-normalised."""
        ...


class LanguageModel(Protocol):
    """A model that answers text with text."""

    @property
    def name(self) -> str:
        """The model's name, part of the version of whatever rests on its answers."""
        ...

    def ask(self, requests: Sequence[LlmRequest]) -> Iterable[Reply | NoReply]:
        """One answer per request, in order; many may be under way at once. What cannot be answered is a `NoReply`, not an error.

        Raises `UserError` when nothing can be asked at all (no key, unknown model).
        """
        ...
