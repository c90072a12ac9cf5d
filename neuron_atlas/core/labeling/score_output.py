"""Scores of output labels by intervention: when the neuron is made to fire, do the label's tokens rise?

Every labeled neuron of the layer is pushed at the last position of the same few texts, each with the same length of change
in the residual stream (value = length / |decoder column|), so that neurons differ only in direction. For one label the score
is the share of (text, distractor) pairs in which its own neuron raises its tokens, against the mean of the
vocabulary, more than a distractor neuron does: 0.5 is chance, 1 is perfect. Distractors are other neurons of the layer,
drawn by seed; the null gives the neuron another neuron's label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuron_atlas.core.labeling.measures import RESAMPLES, Floats, interval
from neuron_atlas.core.ports import SubjectModel
from neuron_atlas.core.records import Edit, Prompt

DISTRACTORS = 20
NULLS = 5
MIN_CONTEXTS, MAX_CONTEXTS = 2, 8
_BATCH = 256


@dataclass(frozen=True, slots=True)
class Claim:
    """What one output label predicts: firing `neuron` with `polarity` moves the tokens by `direction`."""

    neuron: int
    polarity: int
    token_ids: tuple[int, ...]
    direction: int


@dataclass(frozen=True)
class Interventions:
    """Per claim [C]: score, mean score of other claims on the same neuron, interval; n comparisons each."""

    score: Floats
    null: Floats
    low: Floats
    high: Floats
    n: int


def intervene(
    model: SubjectModel,
    layer: int,
    claims: Sequence[Claim],
    contexts: Sequence[Sequence[int]],
    *,
    length: float,
    seed: int,
) -> Interventions | None:
    """Score claims about neurons of one layer; None when there are too few neurons or texts to compare.

    `contexts` are token ids as the model reads them (BOS included); `length` is the size of the push in the residual stream.
    """
    if len({claim.neuron for claim in claims}) < 2 or not contexts:
        return None
    rng = np.random.default_rng(seed)
    norms = np.linalg.norm(model.mlp_weights(layer).down, axis=0)
    values = [claim.polarity * length / max(float(norms[claim.neuron]), 1e-12) for claim in claims]
    rivals = _rivals(np.array([claim.neuron for claim in claims]), rng)
    shuffled = _rivals(np.array([claim.neuron for claim in claims]), rng, n=NULLS)
    own = np.arange(len(claims))
    wins = np.zeros((len(claims), rivals.shape[1]))
    null = np.zeros(len(claims))
    for context in contexts:
        rises = _rises(model, layer, claims, values, context)
        wins += _wins(rises, own, rivals)
        null += np.mean([_wins(rises, shuffled[:, k], rivals).mean(axis=1) for k in range(shuffled.shape[1])], axis=0)
    wins, null = wins / len(contexts), null / len(contexts)
    weights = rng.multinomial(rivals.shape[1], np.full(rivals.shape[1], 1 / rivals.shape[1]), size=RESAMPLES)
    low, high = interval(weights @ wins.T / rivals.shape[1])
    return Interventions(wins.mean(axis=1), null, low, high, n=rivals.shape[1] * len(contexts))


def _rises(
    model: SubjectModel, layer: int, claims: Sequence[Claim], values: Sequence[float], context: Sequence[int]
) -> Floats:
    """[C, C]: how much pushing neuron i moves the tokens of claim k in its direction, against the vocabulary's mean (logits)."""
    last = len(context) - 1
    edits = [[Edit(layer, c.neuron, v, position=last, how="add")] for c, v in zip(claims, values, strict=True)]
    clean = model.logits(context)[0].astype(np.float64)
    moved = np.concatenate(
        [model.logits(context, edits=edits[at : at + _BATCH]) for at in range(0, len(edits), _BATCH)]
    ).astype(np.float64)
    moved -= clean
    moved -= moved.mean(axis=1, keepdims=True)
    sets = np.zeros((moved.shape[1], len(claims)))
    for k, claim in enumerate(claims):
        sets[list(claim.token_ids), k] = claim.direction / len(claim.token_ids)
    return moved @ sets


def _wins(rises: Floats, told: NDArray[np.intp], rivals: NDArray[np.intp]) -> Floats:
    """[C, K]: does neuron i move the tokens of claim told[i] more than rival k does; a tie is one half."""
    own = rises[np.arange(len(told)), told][:, None]
    other = rises[rivals, told[:, None]]
    return (own > other) + 0.5 * (own == other)


def _rivals(neurons: NDArray[np.int64], rng: np.random.Generator, *, n: int = DISTRACTORS) -> NDArray[np.intp]:
    """[C, K]: for each claim, K claims about other neurons, drawn with replacement only where there are too few."""
    chosen: list[NDArray[np.intp]] = []
    for neuron in neurons:
        others = np.flatnonzero(neurons != neuron)
        chosen.append(rng.choice(others, size=n, replace=len(others) < n))
    return np.stack(chosen)


def leading_ids(model: SubjectModel) -> list[int]:
    """The BOS that the model's tokenizer puts before a text, if it does."""
    first = model.encode(Prompt("a", raw=True))[:1]
    return [i for i in first if i in model.special_ids]
