"""A linear model of two layers, three neurons and two positions: every effect can be followed on paper.

    position            0            1
    layer 0         (1, 2, 0)    (4, 0, 1)
    layer 1         = the same coordinates of layer 0 doubled; at position 1 also what stands at position 0
                    (2, 4, 0)    (9, 2, 2)
    goal            layer 1 at position 1, read with (1, -1, 0), and neuron 2 of layer 0 at position 1, read with 10
                    9 - 2 + 10 = 17

So d goal / d layer 0 is (1, -1, 0) at position 0 and (2, -2, 10) at position 1, and (1, -1, 0) for layer 1 at position 1.
Token ids stand for themselves: the first token scales position 0 of layer 0 ([1, 1] is the table above).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from neuron_atlas.core.attribution.faithfulness.cases import Case, Run
from neuron_atlas.core.attribution.linearisation.freeze import Recording
from neuron_atlas.core.records import Prompt

torch.set_num_threads(1)

LAYER_0 = torch.tensor([[1.0, 2.0, 0.0], [4.0, 0.0, 1.0]])
GRADIENT = torch.tensor([[[1.0, -1.0, 0.0], [2.0, -2.0, 10.0]], [[0.0, 0.0, 0.0], [1.0, -1.0, 0.0]]])
OVER_LOGITS = torch.tensor([1.0, -1.0, 10.0])


class PaperModel:
    """The model above; its three logits are neurons 0 and 1 of layer 1, and neuron 2 of layer 0, at the last position."""

    gradient = GRADIENT
    over_logits = OVER_LOGITS

    def __init__(self) -> None:
        self.batches: list[int] = []

    def intervene(self, token_ids: Sequence[Sequence[int]], change: Callable[[int, Tensor], Tensor]) -> Tensor:
        self.batches.append(len(token_ids))
        scale = torch.tensor([list(map(float, ids)) for ids in token_ids])[:, :, None]
        low = change(0, LAYER_0 * scale)
        high = 2 * low
        high[:, 1] += low[:, 0]
        high = change(1, high)
        return torch.stack([high[:, 1, 0], high[:, 1, 1], low[:, 1, 2]], 1)

    def run(self, *token_ids: int) -> Run:
        seen: list[Tensor] = []

        def watch(_layer: int, activation: Tensor) -> Tensor:
            seen.append(activation[0].clone())
            return activation

        logits = self.intervene([token_ids], watch)[0]
        recording = Recording(tuple(token_ids), LAYER_0, (), torch.tensor(1.0), logits, logits)
        return Run(recording, torch.stack(seen), OVER_LOGITS, float(logits @ OVER_LOGITS))

    def case(self, clean: tuple[int, int], corrupt: tuple[int, int] | None) -> Case:
        other = None if corrupt is None else self.run(*corrupt)
        return Case(Prompt(str(clean)), ("task", 2), self.run(*clean), other)


@pytest.fixture
def model() -> PaperModel:
    return PaperModel()
