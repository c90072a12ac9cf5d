"""Prompts prepared for evaluation: the clean run, the goal, and the corrupt run where a prompt has a partner.

The goal is the prompt's own: the difference of its contrast, the sum of its answers' logits, or of the top k. A **partner**
(tag `partner`) is a prompt of the same number of tokens whose answer is the contrast's negative side; it is run for the same
goal. A prompt that cannot be encoded, or whose goal makes no sense, is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from neuron_atlas.core.attribution.linearisation.freeze import first_non_finite
from neuron_atlas.core.attribution.linearisation.goal import choose_goal
from neuron_atlas.core.records import Prompt
from neuron_atlas.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

    from neuron_atlas.core.attribution.faithfulness.interventions import InterventionModel
    from neuron_atlas.core.attribution.linearisation.freeze import Recording

TOP_K = 5
"""Logits in the goal of a prompt that names no answer."""


@dataclass(frozen=True)
class Run:
    """One run up to the traced position: what was recorded, `activation` [L, P, I], and the goal as weights over the vocabulary
    `over_logits` [V] with its `value`."""

    recording: Recording
    activation: Tensor
    over_logits: Tensor
    value: float

    @property
    def token_ids(self) -> tuple[int, ...]:
        """Tokens up to the traced position."""
        return self.recording.token_ids


@dataclass(frozen=True)
class Case:
    """One prompt. Cases of one `family` have the same task and length, so that their activations can be averaged."""

    prompt: Prompt
    family: tuple[str, int]
    clean: Run
    corrupt: Run | None


def prepare(model: InterventionModel, prompts: Sequence[Prompt], *, most: int) -> list[Case]:
    """Cases of at most `most` prompts, taken at even distances."""
    count = min(most, len(prompts))
    chosen = [prompts[index * len(prompts) // count] for index in range(count)]
    cases = [_prepare(model, prompt) for prompt in chosen]
    return [case for case in cases if case is not None]


def _prepare(model: InterventionModel, prompt: Prompt) -> Case | None:
    try:
        ids = _encoded(model, prompt)
        others = _partner(model, prompt, length=len(ids))
        recordings = model.record([ids] if others is None else [ids, others])
        if any(first_non_finite(recording) for recording in recordings):
            return None
        logits = recordings[0].logits
        goal = choose_goal(model, prompt, logits, k=TOP_K)
    except BadInput:
        return None
    over_logits = torch.zeros_like(logits)
    for token_id, weight in zip(goal.token_ids, goal.weights, strict=True):
        over_logits[token_id] += weight
    runs = [_run(recording, over_logits) for recording in recordings]
    family = (prompt.tags.get("task", ""), len(ids))
    return Case(prompt, family, runs[0], runs[1] if len(runs) > 1 else None)


def _encoded(model: InterventionModel, prompt: Prompt) -> list[int]:
    ids = list(model.encode(prompt))
    if not -len(ids) <= prompt.position < len(ids):
        raise BadInput(f"position {prompt.position} is outside the prompt's {len(ids)} tokens")
    return ids[: prompt.position % len(ids) + 1]


def _partner(model: InterventionModel, prompt: Prompt, *, length: int) -> list[int] | None:
    """Tokens of the corrupt half of the pair; None where a prompt has none of its length."""
    text = prompt.tags.get("partner", "")
    if not text or prompt.contrast is None:
        return None
    ids = _encoded(model, replace(prompt, text=text))
    return ids if len(ids) == length else None


def _run(recording: Recording, over_logits: Tensor) -> Run:
    activation = torch.stack([layer.activation for layer in recording.layers])
    return Run(recording, activation, over_logits, float(recording.logits @ over_logits))
