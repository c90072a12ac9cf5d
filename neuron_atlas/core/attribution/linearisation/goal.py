"""The goal of a graph: traced logits, each with its weight.

    goal        logits                             weights
    top_k       the k largest                      1 each
    tokens      the named answers                  1 each
    contrast    (positive, negative)               +1, -1
    direction   one vector over the vocabulary     1 (a single target: the logits' product with it)

A named answer of several tokens is traced by its first, and a note says so. An answer written without a leading space means
the word: of "Austin" and " Austin" the one with the larger logit is traced, as either may follow a prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from neuron_atlas.core.attribution.linearisation.fold import FoldedModel
from neuron_atlas.core.attribution.linearisation.freeze import FrozenModel
from neuron_atlas.core.records import Prompt
from neuron_atlas.errors import BadInput


class Vocabulary(Protocol):
    """The tokenizer, as far as goals need it."""

    def token_text(self, token_id: int) -> str: ...

    def token_candidates(self, text: str) -> Sequence[tuple[int, bool]]:
        """Ids that may begin an answer, with whether each is the whole answer; raises `BadInput` for no token."""
        ...


@dataclass(frozen=True)
class Goal:
    """Traced logits of one prompt. With a `direction` [V] the only token id is -1."""

    kind: Literal["top_k", "tokens", "contrast", "direction"]
    token_ids: tuple[int, ...]
    tokens: tuple[str, ...]
    weights: tuple[float, ...]
    notes: tuple[str, ...] = ()
    direction: Tensor | None = None


@dataclass(frozen=True)
class LinearGoal:
    """A goal as a linear function of the final residual stream: per target its vector [k, D], value [k] and constant part [k]; the
    goal's vector [D] and value."""

    vectors: Tensor
    values: Tensor
    constants: Tensor
    goal_vector: Tensor
    goal_value: float


def choose_goal(
    vocabulary: Vocabulary, prompt: Prompt, logits: Tensor, *, k: int, direction: Tensor | None = None
) -> Goal:
    """The goal of a prompt, given the logits [V] at its traced position. Raises `BadInput` for answers that name no token,
    or a contrast whose sides begin with the same token."""
    if direction is not None:
        if direction.shape != logits.shape:
            raise BadInput(
                f"a direction has one number per token: expected {tuple(logits.shape)}, got {tuple(direction.shape)}"
            )
        return Goal("direction", (-1,), ("direction",), (1.0,), direction=direction.to(logits))
    if prompt.contrast is not None:
        (positive, first), (negative, second) = (_resolve(vocabulary, word, logits) for word in prompt.contrast)
        if positive == negative:
            raise BadInput(
                f"both sides of the contrast {prompt.contrast} begin with the token {vocabulary.token_text(positive)!r}"
            )
        ids = (positive, negative)
        return Goal("contrast", ids, _texts(vocabulary, ids), (1.0, -1.0), (*first, *second))
    if prompt.target_tokens:
        resolved = [_resolve(vocabulary, word, logits) for word in prompt.target_tokens]
        ids = tuple(dict.fromkeys(token_id for token_id, _ in resolved))
        notes = [note for _, notes in resolved for note in notes]
        if len(ids) < len(resolved):
            notes.append("several answers begin with the same token; it is traced once")
        return Goal("tokens", ids, _texts(vocabulary, ids), (1.0,) * len(ids), tuple(notes))
    ids = tuple(int(token) for token in torch.topk(logits, min(k, logits.numel())).indices)
    return Goal("top_k", ids, _texts(vocabulary, ids), (1.0,) * len(ids))


def linearise_goal(model: FoldedModel, frozen: FrozenModel, goal: Goal, *, centre: bool) -> LinearGoal:
    """A goal on a frozen model. `centre` measures every logit against the mean over the vocabulary."""
    logits, bias = frozen.logits, model.unembedding_bias
    share = torch.ones_like(logits) if frozen.logit_ratio is None else frozen.logit_ratio
    if goal.direction is not None:
        size = goal.direction.sum()[None]
        reading = (goal.direction * share)[None]
        values = (goal.direction @ logits)[None]
        vectors = reading @ model.unembedding
        constants = torch.zeros_like(values) if bias is None else reading @ bias
    else:
        ids = torch.as_tensor(goal.token_ids, device=logits.device)
        size = torch.ones_like(logits[ids])
        values = logits[ids]
        vectors = model.unembedding[ids] * share[ids][:, None]
        constants = torch.zeros_like(values) if bias is None else bias[ids] * share[ids]
    if centre:
        mean = share / logits.numel()
        values = values - size * logits.mean()
        vectors = vectors - size[:, None] * (mean @ model.unembedding)
        constants = constants if bias is None else constants - size * (mean @ bias)
    vectors = vectors * frozen.final_scale
    weights = torch.tensor(goal.weights, device=values.device)
    return LinearGoal(vectors, values, constants, weights @ vectors, float((weights * values).sum()))


def _resolve(vocabulary: Vocabulary, word: str, logits: Tensor) -> tuple[int, list[str]]:
    """The token id that an answer is traced by, and notes for the reader of the graph."""
    candidates = vocabulary.token_candidates(word)
    whole = [token_id for token_id, is_whole in candidates if is_whole]
    chosen = max(
        whole or [token_id for token_id, _ in candidates], key=lambda token_id: (float(logits[token_id]), -token_id)
    )
    text = vocabulary.token_text(chosen)
    if not whole:
        return chosen, [f"answer {word!r} is several tokens; traced by its first, {text!r}"]
    return chosen, []


def _texts(vocabulary: Vocabulary, ids: Sequence[int]) -> tuple[str, ...]:
    return tuple(vocabulary.token_text(token_id) for token_id in ids)
