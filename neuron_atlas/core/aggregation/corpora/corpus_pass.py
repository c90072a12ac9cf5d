"""Everything that is counted during one pass over a corpus, and how it is saved and restored.

An interrupted pass continues at the batch where its last saved state ends. A state is a set of named arrays. It belongs to one
model, one corpus and one choice of options, which make up its key; any other pass ignores it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from neuron_atlas.core.aggregation.corpora.correlations import Correlations
from neuron_atlas.core.aggregation.corpora.distributions import Distributions
from neuron_atlas.core.aggregation.corpora.exemplars import TopTexts
from neuron_atlas.core.aggregation.corpora.projection_agreement import TokenMeans
from neuron_atlas.core.ports import Array

State = Mapping[str, NDArray[Any]]


class SavedPass(Protocol):
    """Where the state of an unfinished pass is stored."""

    def load(self, key: str) -> State | None:
        """The state saved under this key, if there is one."""
        ...

    def offer(self, key: str, state: Callable[[], State]) -> None:
        """Save the state if enough time has passed since the last one; called after every batch."""
        ...


class CorpusPass:
    """Running numbers of [L, I] neurons over the batches of a corpus: `add` each, then read the parts."""

    def __init__(
        self, shape: tuple[int, int], token_ids: Sequence[int], *, top_k: int, memory_bytes: int, seed: int
    ) -> None:
        self.distributions = Distributions(shape, memory_bytes=memory_bytes)
        self.top = TopTexts(shape, top_k)
        self.correlations = Correlations(shape, memory_bytes=memory_bytes // 4, seed=seed)
        self.means = TokenMeans(shape, token_ids, memory_bytes=memory_bytes // 4)
        self._parts = {
            "distributions": self.distributions,
            "top": self.top,
            "correlations": self.correlations,
            "means": self.means,
        }

    def add(self, block: Array, lengths: Sequence[int], token_ids: Sequence[int]) -> None:
        """Count activations [L, tokens, I] of consecutive texts with these numbers of tokens and these tokens."""
        self.distributions.add(block)
        self.top.add(block, lengths)
        self.correlations.add(block)
        self.means.add(block, token_ids)

    @property
    def n_texts(self) -> int:
        """Texts counted so far."""
        return self.top.n_texts

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything counted so far."""
        return {f"{part}.{name}": value for part, own in self._parts.items() for name, value in own.state().items()}

    def restore(self, state: State) -> None:
        """Continue from what `state` returned."""
        for part, own in self._parts.items():
            own.restore({name.removeprefix(f"{part}."): v for name, v in state.items() if name.startswith(f"{part}.")})
