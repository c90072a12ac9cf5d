"""The model under study as a Hugging Face decoder: weights unchanged, attention in its eager form so that patterns can be read.

What `ports.SubjectModel` returns are numpy arrays; what attribution needs (recordings, folded weights) stays in torch. One pass
runs at a time, guarded by a lock, because hooks belong to the module and would see every pass.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from neuron_atlas.adapters.subject_model.autograd import AutogradDerivatives
from neuron_atlas.adapters.subject_model.families.parts import Parts, model_weights
from neuron_atlas.adapters.subject_model.generation import Sampler, edits_in_slice, empty_cache, end_of_text_ids
from neuron_atlas.adapters.subject_model.hooks import (
    RecordedPass,
    edited_activations,
    recorded_activations,
    recorded_inputs,
    recording,
    replaced_activations,
)
from neuron_atlas.adapters.subject_model.tokens import TokenReader
from neuron_atlas.adapters.subject_model.weights import float32_array, mlp_weights, vocab_weights
from neuron_atlas.core.attribution.linearisation.fold import FoldedModel, fold
from neuron_atlas.core.attribution.linearisation.freeze import Recording
from neuron_atlas.core.attribution.linearisation.rules import RuleSet
from neuron_atlas.core.ports import Array, MlpWeights, VocabWeights
from neuron_atlas.core.records import Edit, ModelSpec, Prompt, Turn
from neuron_atlas.errors import BadInput

TOKENS_PER_PASS = 4096
"""Tokens of one batched pass, padding included."""
VOCABULARY_ROWS_AT_ONCE = 16384
"""Vocabulary rows of the head that are brought to float32 at once."""


class HuggingFaceModel:
    """A loaded model; fulfils `ports.SubjectModel`, and `TraceableModel` and `ViewedModel`, which attribution and the view need."""

    def __init__(
        self, model: nn.Module, parts: Parts, tokens: TokenReader, spec: ModelSpec, *, max_positions: int
    ) -> None:
        self._model, self._parts, self._tokens, self._spec = model, parts, tokens, spec
        self._device = parts.unembedding.device
        self._lock = threading.RLock()
        self._folded: FoldedModel | None = None
        self.max_positions = max_positions

    @property
    def spec(self) -> ModelSpec:
        """Sizes and identity."""
        return self._spec

    @property
    def device(self) -> str:
        """Kind of device it runs on: cpu or cuda."""
        return self._device.type

    @property
    def module(self) -> nn.Module:
        """The Hugging Face model itself."""
        return self._model

    @property
    def parts(self) -> Parts:
        """Its norms, projections, embedding and head."""
        return self._parts

    @property
    def folded(self) -> FoldedModel:
        """The weights with norms folded, float32: made on first use, and kept beside the model's own."""
        with self._lock:
            if self._folded is None:
                self._folded = fold(model_weights(self._parts))
            return self._folded

    # ------------------------------------------------------------------------------------------------------------- tokens
    @property
    def special_ids(self) -> frozenset[int]:
        """Ids the tokenizer flags as special."""
        return self._tokens.special_ids

    @property
    def unknown_id(self) -> int | None:
        """The id of text outside the vocabulary."""
        return self._tokens.unknown_id

    def token_text(self, token_id: int) -> str:
        """Readable text of one token; a leading space is kept."""
        return self._tokens.token_text(token_id)

    def encode(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt; raises `BadInput` for one that cannot be traced."""
        return self._tokens.encode(prompt)

    def encode_turns(self, turns: Sequence[Turn], *, answer_prefix: str = "") -> list[int]:
        """Token ids of a conversation, in the chat template if there is one; an answer that is due begins with the prefix."""
        return self._tokens.encode_turns(turns, answer_prefix=answer_prefix)

    def continuation(self, token_ids: Sequence[int], new_ids: Sequence[int]) -> str:
        """Readable text of tokens that follow others."""
        return self._tokens.continuation(token_ids, new_ids)

    def token_id(self, text: str) -> tuple[int, bool]:
        """The id of a target word and whether it is the whole word."""
        return self._tokens.token_id(text)

    def token_candidates(self, text: str) -> list[tuple[int, bool]]:
        """Ids that may begin an answer, with whether each is all of it."""
        return self._tokens.token_candidates(text)

    # ------------------------------------------------------------------------------------------------------------- passes
    def record(self, token_ids: Sequence[Sequence[int]]) -> list[Recording]:
        """One pass over several prompts, each traced at its last token."""
        with self._lock, torch.no_grad(), recording(self._parts) as kept:
            hidden = self._run(token_ids)
            return [self._recording(kept, hidden[row], row, ids) for row, ids in enumerate(token_ids)]

    def _recording(self, kept: RecordedPass, hidden: Tensor, row: int, ids: Sequence[int]) -> Recording:
        length = len(ids)
        if kept.embedded is None or kept.final_scale is None:
            raise RuntimeError("the pass did not reach the first layer and the final norm")
        raw = self._head(hidden[length - 1 : length])[0]
        return Recording(
            token_ids=tuple(ids),
            embedded=kept.embedded[row, :length].float(),
            layers=tuple(kept.layer(index, row, length) for index in range(len(self._parts.layers))),
            final_scale=kept.final_scale[row, length - 1],
            raw_logits=raw,
            logits=self._capped(raw),
        )

    def differentiate(
        self, token_ids: Sequence[int], rules: RuleSet, *, edits: Sequence[Edit] = ()
    ) -> AutogradDerivatives:
        """Derivatives of one prompt at its last token, by automatic differentiation, while `edits` hold."""
        ids = list(token_ids)
        changes = [self._checked(edit, len(ids)) for edit in edits]

        def logits_of() -> Tensor:
            with self._lock, edited_activations(self._parts, [changes]):
                return self._capped(self._head(self._run([ids])[:, -1]))[0]

        return AutogradDerivatives(self._parts, rules, logits_of)

    def activations(self, token_ids: Sequence[Sequence[int]], *, edits: Sequence[Edit] = ()) -> Iterable[Array]:
        """Inputs of every down projection, one [L, T, I] array per sequence, in order; as they are while `edits` hold in each."""
        for batch in _batches(token_ids, TOKENS_PER_PASS):
            changes = [[self._checked(edit, len(ids)) for edit in edits] for ids in batch]
            with (
                self._lock,
                torch.no_grad(),
                edited_activations(self._parts, changes),
                recorded_activations(self._parts) as kept,
            ):
                self._run(batch)
            for row, ids in enumerate(batch):
                yield float32_array(torch.stack([layer[row, : len(ids)] for layer in kept]))

    def logits(self, token_ids: Sequence[int], *, edits: Sequence[Sequence[Edit]] = ((),), position: int = -1) -> Array:
        """Logits [B, V] (fp32 head) at one position: the real model run once per list of edits, batched.

        Raises `BadInput` for an edit or position outside the model or sequence.
        """
        passes = self._edited_passes(token_ids, edits, position)
        rows = [float32_array(self._capped(self._head(after_norm))) for _, after_norm in passes]
        return np.concatenate(rows) if rows else np.zeros((0, self._spec.vocab_size), np.float32)

    def final_stream(
        self, token_ids: Sequence[int], *, edits: Sequence[Sequence[Edit]] = ((),), position: int = -1
    ) -> Array:
        """The residual stream [B, D] (fp32) that enters the final norm at one position, run and refused as in `logits`."""
        rows = [float32_array(before_norm) for before_norm, _ in self._edited_passes(token_ids, edits, position)]
        return np.concatenate(rows) if rows else np.zeros((0, self._spec.d_model), np.float32)

    def _edited_passes(
        self, token_ids: Sequence[int], edits: Sequence[Sequence[Edit]], position: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The stream at one position before and after the final norm, two of [b, D] per pass of b lists of edits."""
        end = self._end(token_ids, position)
        edits = [[self._checked(edit, len(token_ids)) for edit in changes] for changes in edits]
        edits = [[e for e in changes if e.position is None or e.position < end] for changes in edits]
        step = max(1, TOKENS_PER_PASS // end)
        for start in range(0, len(edits), step):
            batch = edits[start : start + step]
            final_norm = self._parts.final_norm.module
            with (
                self._lock,
                torch.no_grad(),
                edited_activations(self._parts, batch),
                recorded_inputs(final_norm) as before,
            ):
                after = self._run([token_ids[:end]] * len(batch))
            yield before[0][:, end - 1], after[:, end - 1]

    def generate(
        self,
        token_ids: Sequence[int],
        *,
        edits: Sequence[Edit] = (),
        max_new_tokens: int = 64,
        seed: int = 0,
        temperature: float = 0.0,
    ) -> Iterator[int]:
        """Tokens that follow, one by one, until the model ends its text or its context is full.

        Temperature 0 takes the likeliest token; above it tokens are drawn with `seed`, so the same call gives the same text.
        `edits` hold throughout: those without a position for every token that is read, new ones included. Raises `BadInput`
        for a temperature below 0, or an edit outside the model or the tokens that there may be.
        """
        n_new = min(max_new_tokens, self.max_positions - len(token_ids))
        if not 0 <= temperature < float("inf"):
            raise BadInput(
                f"temperature is {temperature}; expected 0 (take the likeliest token) or a positive number such as 0.8"
            )
        changes = [self._checked(edit, len(token_ids) + max(0, n_new)) for edit in edits]
        sampler = Sampler(temperature=temperature, seed=seed)
        return self._generated(list(token_ids), changes, sampler, n_new)

    def _generated(self, ids: list[int], edits: Sequence[Edit], sampler: Sampler, n_new: int) -> Iterator[int]:
        cache, start, ends = empty_cache(self._model), 0, end_of_text_ids(self._model)
        for _ in range(n_new):
            with self._lock, torch.no_grad(), edited_activations(self._parts, [edits_in_slice(edits, start, len(ids))]):
                hidden = self._base()(
                    input_ids=torch.tensor([ids[start:]], device=self._device), past_key_values=cache, use_cache=True
                ).last_hidden_state
                token = sampler.choose(self._capped(self._head(hidden[:, -1]))[0])
            if token in ends:
                return
            yield token
            start, ids = len(ids), [*ids, token]

    def intervene(self, token_ids: Sequence[Sequence[int]], change: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Logits [B, V] at the last tokens of sequences of one length, run as one batch while every layer's activations
        [B, T, I] are replaced by `change(layer, activations)`."""
        with self._lock, torch.no_grad(), replaced_activations(self._parts, change):
            return self._capped(self._head(self._run(token_ids)[:, -1]))

    def frozen_scales(self, token_ids: Sequence[int], *, position: int = -1) -> Array:
        """Frozen factors [L + 1] of every layer's post-MLP norm (1 without one) and of the final norm at one position."""
        end = self._end(token_ids, position)
        with self._lock, torch.no_grad(), recording(self._parts) as kept:
            self._run([token_ids[:end]])
        one = torch.ones(())
        scales = [layer["after_mlp"][0, end - 1].cpu() if "after_mlp" in layer else one for layer in kept.layers]
        if kept.final_scale is None:
            raise RuntimeError("the pass did not reach the final norm")
        return float32_array(torch.stack([*scales, kept.final_scale[0, end - 1].cpu()]))

    def _run(self, token_ids: Sequence[Sequence[int]]) -> Tensor:
        """Final hidden states [B, T, D] of several sequences padded on the right (a causal model never looks there)."""
        length = max(len(ids) for ids in token_ids)
        padded = torch.zeros(len(token_ids), length, dtype=torch.long)
        for row, ids in enumerate(token_ids):
            padded[row, : len(ids)] = torch.as_tensor(list(ids), dtype=torch.long)
        return self._base()(input_ids=padded.to(self._device), use_cache=False).last_hidden_state

    def _base(self) -> nn.Module:
        base = self._model.base_model
        if not isinstance(base, nn.Module):
            raise TypeError("the model has no base model below its head")
        return base

    def _head(self, hidden: Tensor) -> Tensor:
        """Logits [n, V] of hidden states [n, D] before a soft cap, computed in float32."""
        hidden, matrix = hidden.float(), self._parts.unembedding
        parts = [
            hidden @ matrix[start : start + VOCABULARY_ROWS_AT_ONCE].float().T
            for start in range(0, matrix.shape[0], VOCABULARY_ROWS_AT_ONCE)
        ]
        logits = torch.cat(parts, -1)
        return logits if self._parts.unembedding_bias is None else logits + self._parts.unembedding_bias.float()

    def _capped(self, logits: Tensor) -> Tensor:
        cap = self._parts.softcap
        return logits if cap is None else torch.tanh(logits / cap) * cap

    def _end(self, token_ids: Sequence[int], position: int) -> int:
        if not token_ids or not -len(token_ids) <= position < len(token_ids):
            raise BadInput(f"position {position} is outside a sequence of {len(token_ids)} tokens")
        return position % len(token_ids) + 1

    def _checked(self, edit: Edit, length: int) -> Edit:
        spec = self._spec
        if not (0 <= edit.layer < spec.n_layers and 0 <= edit.neuron < spec.n_neurons):
            raise BadInput(
                f"L{edit.layer}/N{edit.neuron} is outside a model of {spec.n_layers} layers of {spec.n_neurons} neurons"
            )
        if edit.position is None:
            return edit
        position = self._end(range(length), edit.position) - 1
        return Edit(edit.layer, edit.neuron, edit.value, position, edit.how)

    # ------------------------------------------------------------------------------------------------------------ weights
    def mlp_weights(self, layer: int) -> MlpWeights:
        """One layer's MLP as it stands, float32. Raises `BadInput` for a layer the model does not have."""
        if not 0 <= layer < self._spec.n_layers:
            raise BadInput(
                f"layer {layer} is outside the model, which has layers 0..{self._spec.n_layers - 1}; choose one of them"
            )
        return mlp_weights(self._parts, layer)

    def vocab_weights(self) -> VocabWeights:
        """Embedding, unembedding and final norm, float32."""
        return vocab_weights(self._parts)


def _batches(token_ids: Sequence[Sequence[int]], cells: int) -> Iterator[Sequence[Sequence[int]]]:
    """Consecutive sequences whose padded size stays under a number of cells."""
    start, longest = 0, 0
    for index, ids in enumerate(token_ids):
        if not ids:
            raise BadInput(f"sequence {index} is empty; expected at least one token id")
        longest = max(longest, len(ids))
        if index > start and longest * (index + 1 - start) > cells:
            yield token_ids[start:index]
            start, longest = index, len(ids)
    if start < len(token_ids):
        yield token_ids[start:]
