"""Every neuron's relevance to each of several answers.

    R(i, t) = v_i * d (logit_t - mean logit) / d v_i     (linearised by the rule set)

One backward pass per answer gives it for all instances, with no threshold, so differences between answers are exact:
R(i, A) - R(i, B) is i's relevance to logit A - logit B. Logits are measured against the vocabulary's mean, because what raises
all of them favours none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neuron_atlas.core.attribution.linearisation.rules import rule_set
from neuron_atlas.core.records import Prompt
from neuron_atlas.errors import BadInput

if TYPE_CHECKING:
    from neuron_atlas.core.attribution.traceable_model import TraceableModel


@dataclass(frozen=True)
class AnswerRelevance:
    """`relevance` [n, L, P, I] (logits) to n answers: `answer_ids`, their texts `answers`, `logits` (less the vocabulary's
    mean) and `probabilities` [n]. `token_ids` and `tokens` are the prompt up to the traced position."""

    token_ids: tuple[int, ...]
    tokens: tuple[str, ...]
    answer_ids: tuple[int, ...]
    answers: tuple[str, ...]
    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    relevance: NDArray[np.float32]


def answer_relevance(model: TraceableModel, prompt: Prompt, *, k: int = 5, rules: str = "relp") -> AnswerRelevance:
    """Relevance to each of the prompt's answers: its target tokens, both sides of its contrast, or the k likeliest.

    Raises `BadInput` for a prompt that cannot be traced, `UnknownName` for an unknown rule set.
    """
    import torch

    from neuron_atlas.core.attribution.linearisation.freeze import first_non_finite
    from neuron_atlas.core.attribution.linearisation.goal import choose_goal

    ids = list(model.encode(prompt))
    if not -len(ids) <= prompt.position < len(ids):
        raise BadInput(f"position {prompt.position} is outside the prompt's {len(ids)} tokens")
    ids = ids[: prompt.position % len(ids) + 1]
    with torch.no_grad():
        (recording,) = model.record([ids])
    fault = first_non_finite(recording)
    if fault is not None:
        raise BadInput(f"the prompt {prompt.text[:60]!r} cannot be traced: {fault}")
    logits = recording.logits
    goal = choose_goal(model, prompt, logits, k=k)
    derivatives = model.differentiate(ids, rule_set(rules))
    found: list[NDArray[np.float32]] = []
    for token in goal.token_ids:
        over_logits = torch.full_like(logits, -1 / logits.numel())
        over_logits[token] += 1
        found.append(derivatives.relevance(over_logits)[0].cpu().numpy())
    chosen = torch.as_tensor(goal.token_ids, device=logits.device)
    return AnswerRelevance(
        token_ids=tuple(ids),
        tokens=tuple(model.token_text(one) for one in ids),
        answer_ids=goal.token_ids,
        answers=goal.tokens,
        logits=(logits[chosen] - logits.mean()).cpu().numpy(),
        probabilities=torch.softmax(logits, -1)[chosen].cpu().numpy(),
        relevance=np.stack(found),
    )
