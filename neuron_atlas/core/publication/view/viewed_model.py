"""What a view needs of the model under study."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from neuron_atlas.core.attribution.traceable_model import EditableModel
from neuron_atlas.core.ports import Array
from neuron_atlas.core.records import Edit, ModelSpec, Prompt, Turn


class ViewedModel(EditableModel, Protocol):
    """A model that can be read, talked to and changed while it runs."""

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def special_ids(self) -> frozenset[int]: ...

    def encode(self, prompt: Prompt) -> list[int]: ...

    def encode_turns(self, turns: Sequence[Turn], *, answer_prefix: str = "") -> list[int]:
        """Token ids of a conversation, in the chat template if there is one; an answer that is due begins with the prefix."""
        ...

    def continuation(self, token_ids: Sequence[int], new_ids: Sequence[int]) -> str:
        """Readable text of tokens that follow others."""
        ...

    def activations(self, token_ids: Sequence[Sequence[int]], *, edits: Sequence[Edit] = ()) -> Iterable[Array]:
        """Activations [L, T, I] of each sequence while edits hold."""
        ...

    def generate(
        self,
        token_ids: Sequence[int],
        *,
        edits: Sequence[Edit] = (),
        max_new_tokens: int = 64,
        seed: int = 0,
        temperature: float = 0.0,
    ) -> Iterator[int]:
        """Tokens that follow, one by one, while edits hold; temperature 0 takes the likeliest."""
        ...
