"""Scores of output labels by intervention: when the neuron is made to fire, do the label's tokens rise?

Neurons of the layer are pushed at the last position of the same few texts, each with the same length of change in the
residual stream (value = length / |decoder column|), so that they differ only in direction. A label is then put to a **forced
choice** among its neuron and `DISTRACTORS` other neurons of the layer, drawn afresh by seed in every trial; it passes when its own
neuron moves its tokens the most, measured against the mean of the vocabulary. The score is the share of trials passed, chance
is 1 / (DISTRACTORS + 1), and the null puts another neuron's label in its place. Trials on one text share that text, so the
interval is somewhat too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuron_atlas.core.labeling.scoring.measures import Floats
from neuron_atlas.core.ports import SubjectModel
from neuron_atlas.core.records import Edit, Prompt
from neuron_atlas.core.statistics import wilson

DISTRACTORS = 9
"""Distractors beside the neuron; fewer where the layer has fewer."""
TRIALS = 4
"""Trials per text."""
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


@dataclass(frozen=True, slots=True)
class TrialResult:
    """One claim's share of trials passed, that of other claims on the same neuron, its interval, over n trials."""

    score: float
    null: float
    low: float
    high: float
    n: int


def intervene(
    model: SubjectModel,
    layer: int,
    claims: Sequence[Claim],
    contexts: Sequence[Sequence[int]],
    *,
    length: float,
    seed: int,
) -> list[TrialResult]:
    """Try claims about neurons of one layer; empty when there are too few neurons or texts to compare.

    `contexts` are token ids as the model reads them (BOS included); `length` is the size of the push in the residual stream.
    Where few neurons have claims, others of the layer serve as distractors too.
    """
    rng = np.random.default_rng([seed, layer, 3])
    steered = _steered(claims, model.spec.n_neurons, rng)
    if not claims or not contexts or len({neuron for neuron, _ in steered}) < 3:
        return []
    norms = np.linalg.norm(model.mlp_weights(layer).down, axis=0)
    pushes = [(n, polarity * length / max(float(norms[n]), 1e-12)) for n, polarity in steered]
    place = {key: at for at, key in enumerate(steered)}
    own = np.array([place[claim.neuron, claim.polarity] for claim in claims])
    neurons = np.array([neuron for neuron, _ in steered])
    shuffled_claims = np.stack([_others(own, neurons, rng) for _ in range(NULLS)])
    passed, null = np.zeros(len(claims)), np.zeros(len(claims))
    for context in contexts:
        rises = _rises(model, layer, pushes, claims, context)
        for _ in range(TRIALS):
            distractors = _draw_distractors(own, neurons, rng)
            passed += _passes(rises, own, distractors, np.arange(len(claims)))
            null += np.mean([_passes(rises, own, distractors, other) for other in shuffled_claims], axis=0)
    n = TRIALS * len(contexts)
    return [
        TrialResult(p / n, q / n, *wilson(float(p), n), n) for p, q in zip(passed.tolist(), null.tolist(), strict=True)
    ]


def _steered(claims: Sequence[Claim], n_neurons: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """(neuron, polarity) to push: those with claims, filled up with others of the layer to twice the distractors of a trial."""
    keys = list(dict.fromkeys((claim.neuron, claim.polarity) for claim in claims))
    taken = {neuron for neuron, _ in keys}
    free = [int(n) for n in rng.permutation(n_neurons) if int(n) not in taken]
    return keys + [(n, 1) for n in free[: max(0, 2 * DISTRACTORS - len(taken))]]


def _rises(
    model: SubjectModel,
    layer: int,
    pushes: Sequence[tuple[int, float]],
    claims: Sequence[Claim],
    context: Sequence[int],
) -> Floats:
    """[pushes, claims]: how far each push moves each claim's tokens in its direction, against the vocabulary's mean (logits)."""
    last = len(context) - 1
    edits = [[Edit(layer, neuron, value, position=last, how="add")] for neuron, value in pushes]
    runs = [model.logits(context, edits=edits[at : at + _BATCH]) for at in range(0, len(edits), _BATCH)]
    moved = np.concatenate(runs).astype(np.float64) - model.logits(context)[0]
    moved -= moved.mean(axis=1, keepdims=True)
    sets = np.zeros((moved.shape[1], len(claims)))
    for k, claim in enumerate(claims):
        sets[list(claim.token_ids), k] = claim.direction / len(claim.token_ids)
    return moved @ sets


def _passes(rises: Floats, own: NDArray[np.intp], distractors: NDArray[np.intp], claims: NDArray[np.intp]) -> Floats:
    """[C]: 1 where neuron own[i] moves the tokens of claim claims[i] more than all distractors[i] do; ties at the top share it."""
    mine = rises[own, claims][:, None]
    theirs = rises[distractors, claims[:, None]]
    return (mine >= theirs).all(axis=1) / (1.0 + (mine == theirs).sum(axis=1))


def _draw_distractors(own: NDArray[np.intp], neurons: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.intp]:
    """[C, K]: for each claim, K pushes of K other places, never its own neuron."""
    order = rng.random((len(own), len(neurons)))
    order[neurons[own][:, None] == neurons[None, :]] = np.inf
    size = min(DISTRACTORS, int(np.isfinite(order).sum(axis=1).min()))
    return np.argsort(order, axis=1)[:, :size]


def _others(own: NDArray[np.intp], neurons: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.intp]:
    """[C]: for each claim, another neuron's claim; its own where all claims are about one neuron."""
    order = rng.random((len(own), len(own)))
    order[neurons[own][:, None] == neurons[own][None, :]] += 1.0
    return np.argmin(order, axis=1)


def leading_ids(model: SubjectModel) -> list[int]:
    """The BOS that the model's tokenizer puts before a text, if it does."""
    first = model.encode(Prompt("a", raw=True))[:1]
    return [i for i in first if i in model.special_ids]
