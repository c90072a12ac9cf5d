"""Many analyses of one kind, summed up: does swapping the module change the answer, prompt after prompt?

Counted are prompts with a donor that the model answers as expected on both sides (its likeliest token is the prompt's first
answer; the donor's is another). For every concept, and for the `strongest` module (of largest relevance), the module is swapped
with the donor's: the answer becomes the donor's, stays, or becomes something else. Random sets of as many neurons of the same
layers and positions, set to what they are on the donor, say how often the answer changes by chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from neuron_atlas.core.circuits.analysis.record import AnalysisRecord, Module, Part, Swap

STRONGEST = "strongest"
"""The name under which the module of largest relevance is counted."""
Z95 = 1.96


class Rate(Part):
    """A share of n prompts with its 95 % interval (Wilson)."""

    count: int
    n: int
    share: float
    low: float
    high: float


class ConceptSummary(Part):
    """What came of one concept over all prompts.

    `named_first` and `named_in_top5`: the module found ranks the concept's token first, or among the first five, of all tokens it
    writes (missing for the strongest module). `brings_donor_answer`, `keeps_answer`: after the swap. `by_chance_keeps` is the mean
    share of random sets that leave the answer as it was; `alone` the mean change of the donor's answer's logit (logits), `chance`
    that of random sets. `neurons` is the mean number of neurons changed.
    """

    concept: str
    named_first: Rate | None
    named_in_top5: Rate | None
    brings_donor_answer: Rate | None
    keeps_answer: Rate | None
    by_chance_keeps: float | None
    change: float | None
    chance: float | None
    neurons: float | None


class StudySummary(Part):
    """Analyses of one study: how many, how many of them count, and each concept."""

    name: str
    prompts: int
    counted: int
    concepts: tuple[ConceptSummary, ...]


@dataclass(frozen=True, slots=True)
class _Trial:
    record: AnalysisRecord
    module: Module
    rank: int | None


def summarise(name: str, records: Sequence[AnalysisRecord]) -> StudySummary:
    """Sum up the analyses of a study."""
    counted = [one for one in records if _is_answered(one)]
    names = list(dict.fromkeys(concept.name for one in counted for concept in one.concepts))
    trials = {concept: list(_found(counted, concept)) for concept in names}
    trials[STRONGEST] = [
        _Trial(one, max(one.modules, key=lambda module: (module.relevance, -module.module)), None)
        for one in counted
        if one.modules
    ]
    return StudySummary(
        name=name,
        prompts=len(records),
        counted=len(counted),
        concepts=tuple(_summary(concept, some, len(counted)) for concept, some in trials.items()),
    )


def rate(count: int, n: int) -> Rate | None:
    """A share with its Wilson interval; None of none."""
    if n == 0:
        return None
    share, spread = count / n, Z95**2 / n
    middle = (share + spread / 2) / (1 + spread)
    half = Z95 * np.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return Rate(count=count, n=n, share=share, low=max(0.0, float(middle - half)), high=min(1.0, float(middle + half)))


def _is_answered(record: AnalysisRecord) -> bool:
    """The model gives the prompt's first answer, and another to the donor."""
    if record.donor is None or not record.donor.swaps:
        return False
    answer = record.answers[0].token
    return record.donor.swaps[0].effect.top == answer and record.donor.answer != answer


def _found(records: Iterable[AnalysisRecord], concept: str) -> Iterable[_Trial]:
    for record in records:
        modules = {one.module: one for one in record.modules}
        for one in record.concepts:
            if one.name == concept and one.module is not None:
                yield _Trial(record, modules[one.module], one.rank)


def _summary(concept: str, trials: Sequence[_Trial], n: int) -> ConceptSummary:
    swaps = [(trial, swap) for trial in trials if (swap := _swap(trial)) is not None]
    named = None if concept == STRONGEST else [trial.rank for trial in trials if trial.rank is not None]
    brought = sum(swap.effect.top_after == _donated(trial) for trial, swap in swaps)
    kept = sum(swap.effect.top_after == swap.effect.top for _, swap in swaps)
    changes = [
        (token.logit_change, token.random_change)
        for trial, swap in swaps
        for token in swap.effect.tokens
        if token.token == _donated(trial)
    ]
    return ConceptSummary(
        concept=concept,
        named_first=None if named is None else rate(sum(one == 0 for one in named), n),
        named_in_top5=None if named is None else rate(sum(one < 5 for one in named), n),
        brings_donor_answer=rate(brought, n),
        keeps_answer=rate(kept, n),
        by_chance_keeps=_mean([swap.effect.random_top_kept for _, swap in swaps]),
        change=_mean([change for change, _ in changes]),
        chance=_mean([chance for _, chance in changes]),
        neurons=_mean([float(swap.effect.n_neurons) for _, swap in swaps]),
    )


def _swap(trial: _Trial) -> Swap | None:
    """The swap of the trial's module; None where the donor has no match."""
    donor = trial.record.donor
    return next((one for one in donor.swaps if one.module == trial.module.module), None) if donor else None


def _donated(trial: _Trial) -> str:
    return trial.record.donor.answer if trial.record.donor else ""


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
