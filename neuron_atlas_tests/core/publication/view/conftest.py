"""A model that can be worked out by eye, fulfilling `view.subject.ViewedModel`.

Words are tokens 1, 2, 3 … by their length, after a special token 0. Layer 0 has two neurons: N0 is +1 for each word so far, N1 is
minus the length of the word. Layer 1 has one reader, N0 = L0/N0 + L0/N1, and N1, which is 0. The logit of token k is -|k - L1/N0|
at the position: the next word's length is what the reader says, so `a b` (lengths 1, 1: reader 2 - 1 = 1) goes on with `x`.
It writes until a word would be shorter than 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from neuron_atlas.core.records import Edit, ModelSpec, Prompt, Turn
from neuron_atlas.errors import BadInput

VOCABULARY = 8


class CountingModel:
    """See the module."""

    device = "cpu"
    special_ids = frozenset({0})
    spec = ModelSpec("counting", "r" * 64, "Counting", 2, 2, 1, VOCABULARY, "float32")

    def __init__(self) -> None:
        self.passes = 0

    def token_text(self, token_id: int) -> str:
        return "<s>" if token_id == 0 else " " + "x" * token_id

    def token_candidates(self, text: str) -> list[tuple[int, bool]]:
        if not text.strip():
            raise BadInput("no token")
        return [(min(len(text.strip()), VOCABULARY - 1), True)]

    def encode(self, prompt: Prompt) -> list[int]:
        return [0, *(min(len(word), VOCABULARY - 1) for word in prompt.text.split())]

    def encode_turns(self, turns: Sequence[Turn], *, answer_prefix: str = "") -> list[int]:
        if any(turn.text == "refused" for turn in turns):
            raise BadInput("refused")
        return self.encode(Prompt(" ".join([*(turn.text for turn in turns), answer_prefix])))

    def continuation(self, token_ids: Sequence[int], new_ids: Sequence[int]) -> str:
        return "".join(map(self.token_text, new_ids))

    def activations(self, token_ids: Sequence[Sequence[int]], *, edits: Sequence[Edit] = ()) -> Iterator[np.ndarray]:
        for ids in token_ids:
            self.passes += 1
            found = np.zeros((2, len(ids), 2), np.float32)
            found[0, :, 0] = np.maximum(np.arange(len(ids)), 0)
            found[0, :, 1] = -np.array(ids)
            for layer in (0, 1):
                if layer == 1:
                    found[1, :, 0] = found[0].sum(1)
                for edit in edits:
                    if edit.layer == layer:
                        where = slice(None) if edit.position is None else edit.position
                        old = found[layer, where, edit.neuron]
                        found[layer, where, edit.neuron] = {
                            "set": edit.value, "add": old + edit.value, "scale": old * edit.value,
                        }[edit.how]  # fmt: skip
            yield found

    def logits(self, token_ids, *, edits=((),), position: int = -1) -> np.ndarray:
        rows = []
        for changes in edits:
            here = [e for e in changes if e.position is None or e.position < len(token_ids)]
            (found,) = self.activations([token_ids], edits=here)
            rows.append(-np.abs(np.arange(VOCABULARY) - found[1, position, 0]))
        return np.array(rows, np.float32)

    def generate(self, token_ids, *, edits=(), max_new_tokens=64, seed=0, temperature=0.0) -> Iterator[int]:
        ids = list(token_ids)
        for _ in range(max_new_tokens):
            here = [e for e in edits if e.position is None or e.position < len(ids)]
            (found,) = self.activations([ids], edits=here)
            token = min(round(float(found[1, -1, 0])) + (seed if temperature else 0), VOCABULARY - 1)
            if token < 1:
                return
            yield token
            ids.append(token)

    def differentiate(self, token_ids, rules, *, edits=()):
        return Planted(self, token_ids, edits)


class Planted:
    """Relevance = activation × the goal's weight on its token + 0.001 × position: signed, and told apart by goal."""

    def __init__(self, model: CountingModel, token_ids, edits) -> None:
        self._args = model, token_ids, edits

    def relevance(self, over_logits):
        import torch

        model, ids, edits = self._args
        (found,) = model.activations([ids], edits=edits)
        weight = sum((k + 1) * float(w) for k, w in enumerate(over_logits))
        return torch.as_tensor(found * weight), torch.zeros(len(ids))


@pytest.fixture
def model() -> CountingModel:
    return CountingModel()
