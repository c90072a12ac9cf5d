"""What filters and views need to know of the text at hand: the model's state after reading it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuron_atlas.core.ports import Array
from neuron_atlas.core.publication.filters.filter_classes import Goal
from neuron_atlas.core.publication.filters.selection import Size
from neuron_atlas.errors import BadInput


@dataclass(frozen=True)
class Reading:
    """A model's state after reading a text of T tokens: activations [L, T, I], and the relevance [L, T, I] of every instance
    to a goal (in logits, computed on demand).

    `is_counted` [T] says which tokens are of the kind that quantiles were counted over: special ones, such as the first of a
    text, are not, and activations there are out of all proportion.
    """

    token_ids: tuple[int, ...]
    tokens: tuple[str, ...]
    is_counted: NDArray[np.bool_]
    activations: Array
    relevance: Callable[[Goal], Array]

    @property
    def size(self) -> Size:
        """How many items there are."""
        n_layers, n_positions, n_neurons = self.activations.shape
        return Size(n_positions, n_layers, n_neurons)

    def position(self, position: int) -> int:
        """A position counted from the start; raises `BadInput` outside the text."""
        length = len(self.token_ids)
        if not -length <= position < length:
            raise BadInput(
                f"position {position} is outside the text's {length} tokens; expected {-length} to {length - 1}"
            )
        return position % length
