"""Generation: choosing the next token, and the cache of keys and values (transformers' own), with which each new token costs a pass
over that token alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from neuron_atlas.core.records import Edit

if TYPE_CHECKING:
    from transformers import DynamicCache


class Sampler:
    """Chooses the next token. Draws are made on the CPU by an own generator, so they depend on the seed and the logits alone."""

    def __init__(self, *, temperature: float, seed: int) -> None:
        self._temperature = temperature
        self._random = torch.Generator().manual_seed(seed)

    def choose(self, logits: Tensor) -> int:
        """The likeliest token of logits [V] at temperature 0, else one drawn from softmax(logits / temperature)."""
        if self._temperature == 0:
            return int(logits.argmax())
        chances = torch.softmax(logits.double().cpu() / self._temperature, -1)
        return int(torch.multinomial(chances, 1, generator=self._random))


def edits_in_slice(edits: Sequence[Edit], start: int, stop: int) -> list[Edit]:
    """The edits of positions `start` to `stop` - 1 as they apply to a pass over those alone."""
    here = [edit for edit in edits if edit.position is None or start <= edit.position < stop]
    return [edit if edit.position is None else replace(edit, position=edit.position - start) for edit in here]


def empty_cache(model: nn.Module) -> DynamicCache:
    """A cache of keys and values; layers with a sliding window keep that window."""
    from transformers import DynamicCache, PreTrainedConfig

    config = model.config
    if not isinstance(config, PreTrainedConfig):
        raise TypeError("the model has no configuration")
    return DynamicCache(config=config)


def end_of_text_ids(model: nn.Module) -> frozenset[int]:
    """Tokens with which the model ends its text, by its generation settings."""
    ends: int | list[int] | None = getattr(model.generation_config, "eos_token_id", None)
    return frozenset([ends] if isinstance(ends, int) else ends or [])
