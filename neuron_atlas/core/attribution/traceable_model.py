"""What attribution needs of a model beside `ports.SubjectModel`: recordings, folded weights, and derivatives of the model itself
for rule sets that freeze too little to be linear."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from neuron_atlas.core.ports import Array
from neuron_atlas.core.records import Edit, ModelSpec, Prompt

if TYPE_CHECKING:
    from torch import Tensor

    from neuron_atlas.core.attribution.linearisation.fold import FoldedModel
    from neuron_atlas.core.attribution.linearisation.freeze import Recording
    from neuron_atlas.core.attribution.linearisation.rules import RuleSet
    from neuron_atlas.core.attribution.select_nodes import Nodes


class TraceableModel(Protocol):
    """A model that can be traced."""

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def device(self) -> str:
        """Kind of device it runs on: cpu or cuda."""
        ...

    @property
    def folded(self) -> FoldedModel: ...

    @property
    def unknown_id(self) -> int | None: ...

    def encode(self, prompt: Prompt) -> list[int]:
        """Token ids; raises `BadInput` with the reason for a prompt that cannot be traced."""
        ...

    def token_text(self, token_id: int) -> str: ...

    def token_candidates(self, text: str) -> Sequence[tuple[int, bool]]: ...

    def record(self, token_ids: Sequence[Sequence[int]]) -> list[Recording]:
        """One pass over several prompts, each recorded for its last token."""
        ...

    def differentiate(self, token_ids: Sequence[int], rules: RuleSet) -> Derivatives:
        """Derivatives at the last token by automatic differentiation of the model's own forward pass."""
        ...


class EditableModel(Protocol):
    """A model that can be run and differentiated while neurons are held at other values."""

    @property
    def device(self) -> str: ...

    def token_text(self, token_id: int) -> str: ...

    def token_candidates(self, text: str) -> Sequence[tuple[int, bool]]: ...

    def logits(self, token_ids: Sequence[int], *, edits: Sequence[Sequence[Edit]] = ((),), position: int = -1) -> Array:
        """Logits [B, V] at one position, once per list of edits."""
        ...

    def differentiate(self, token_ids: Sequence[int], rules: RuleSet, *, edits: Sequence[Edit] = ()) -> Derivatives:
        """Derivatives at the last token while `edits` hold."""
        ...


class Derivatives(Protocol):
    """One prompt under one rule set. P positions, L layers, I neurons, V vocabulary."""

    def relevance(self, over_logits: Tensor) -> tuple[Tensor, Tensor]:
        """Relevance to a goal over_logits [V] · logits: of neurons [L, P, I] and embeddings [P]."""
        ...

    def gradient(self, over_logits: Tensor) -> Tensor:
        """Derivative of a goal over_logits [V] · logits by every activation, [L, P, I]."""
        ...

    def direct_effects(self, nodes: Nodes, over_logits: Tensor) -> tuple[Tensor, Tensor]:
        """Direct effects [N + k, P + N] between nodes and on k goals over_logits [k, V] · logits; and the inflow [N + k] from
        all neurons together."""
        ...
