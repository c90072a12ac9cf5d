"""Which module stands for a concept: the one that writes the concept's tokens furthest above their rivals.

The rivals of a state's name are the other states' names, those of plural verbs singular ones. What a module writes is read from
the weights (see `logit_lens.py`): among `rivals` the concept's tokens should come first. Without rivals they are compared with
the whole vocabulary, where words that many modules raise or lower hide small differences. With `at`, only modules count whose
relevance lies mostly at one token of the prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuron_atlas.core.circuits.analysis.analysis_record import Concept, Module
from neuron_atlas.core.ports import Array, SubjectModel
from neuron_atlas.errors import BadInput

MIN_SHARE = 0.05
"""The smallest share of the modules' summed |relevance| with which a module is considered."""


@dataclass(frozen=True, slots=True)
class ConceptQuery:
    """A concept to search for: its tokens, the rivals they are compared with (none: the vocabulary), the token its module is at."""

    tokens: tuple[str, ...]
    rivals: tuple[str, ...] = ()
    at: str | None = None


def find_concepts(
    model: SubjectModel, logits: Mapping[int, Array], modules: Sequence[Module], concepts: Mapping[str, ConceptQuery]
) -> tuple[Concept, ...]:
    """For each concept the module that ranks its tokens highest among their rivals, of those that raise the goal and hold enough
    relevance; ties go to the larger margin. `logits` is what every module writes.

    Raises `BadInput` for a text that is several tokens.
    """
    total = sum(abs(one.relevance) for one in modules)
    eligible = [one for one in modules if one.relevance >= MIN_SHARE * total]
    found: list[Concept] = []
    for name, wanted in concepts.items():
        tokens, rivals = _ids(model, name, wanted.tokens), _ids(model, name, wanted.rivals)
        others = np.setdiff1d(rivals if len(rivals) else np.arange(model.spec.vocab_size), tokens)
        there = [one.module for one in eligible if wanted.at is None or _is_at(one, wanted.at)]
        scores = {module: _rank_and_margin(logits[module], tokens, others) for module in there}
        best = min(scores, key=lambda module: (scores[module][0], -scores[module][1]), default=None)
        found.append(
            Concept(
                name=name,
                tokens=tuple(model.token_text(int(one)) for one in tokens),
                rivals=len(others) if len(rivals) else 0,
                module=best,
                rank=None if best is None else scores[best][0],
                margin=None if best is None else scores[best][1],
            )
        )
    return tuple(found)


def _ids(model: SubjectModel, name: str, tokens: Sequence[str]) -> NDArray[np.int64]:
    found: list[int] = []
    for token in tokens:
        token_id, is_whole = model.token_id(token)
        if not is_whole:
            raise BadInput(
                f"concept {name!r}: {token!r} is several tokens of {model.spec.model_id}; expected a single token"
            )
        found.append(token_id)
    return np.array(found, dtype=np.int64)


def _is_at(module: Module, token: str) -> bool:
    """Whether most of a module's |relevance| lies at positions of a token."""
    total = sum(abs(one.relevance) for one in module.members)
    return sum(abs(one.relevance) for one in module.members if one.token == token) > total / 2


def _rank_and_margin(logits: Array, tokens: NDArray[np.int64], others: NDArray[np.int64]) -> tuple[float, float]:
    """Rivals above a token, on average over tokens; and the tokens' mean logit less the rivals'."""
    rank = float(np.mean([(logits[others] > logits[one]).sum() for one in tokens]))
    return rank, float(logits[tokens].mean() - logits[others].mean())
