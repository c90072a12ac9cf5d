"""The analyses of a study summed up: how often does swapping a module change the answer?

Counted are prompts with a donor that the model answers as expected on both sides. With a contrast that means: the prompt favours
its first side, the donor the second; else: the likeliest token is the prompt's first answer, and the donor's is another. For
every concept, and for the `strongest` module (of largest relevance), the module is swapped with the donor's. Random sets of as
many neurons of the same layers and positions, set to their activations on the donor, show how often the answer changes by chance;
the prompt's other modules, swapped in the same way, show how specific the effect of this one is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from neuron_atlas.core.circuits.analysis.analysis_record import AnalysisRecord, Module, RecordPart, Swap
from neuron_atlas.core.statistics import wilson

STRONGEST = "strongest"
"""The name under which the module of largest relevance is counted."""


class Rate(RecordPart):
    """A share of n prompts with its 95 % interval (Wilson)."""

    count: int
    n: int
    share: float
    low: float
    high: float


class ConceptSummary(RecordPart):
    """What swapping the module of one concept did, over all prompts.

    `named_first`: the module found writes the concept's tokens above all their rivals (missing for the strongest module).
    After the swap: `turns_contrast`, the contrast's second side beats the first; `brings_donor_answer`, the likeliest token is the
    donor's; `keeps_answer`, it is as before; `others_turn_contrast` and `others_bring_donor_answer`: the same of all other modules
    of these prompts. `by_chance_keeps` is the mean share of random sets that leave the likeliest token as it was. `change` is the
    mean change of what the donor favours (the second side less the first, or its answer's logit), `chance` that by random sets;
    `neurons` the mean number of neurons changed.
    """

    concept: str
    named_first: Rate | None
    turns_contrast: Rate | None
    brings_donor_answer: Rate | None
    keeps_answer: Rate | None
    others_turn_contrast: Rate | None
    others_bring_donor_answer: Rate | None
    by_chance_keeps: float | None
    change: float | None
    chance: float | None
    neurons: float | None


class StudySummary(RecordPart):
    """Analyses of one study: how many, how many of them count, and each concept."""

    name: str
    prompts: int
    counted: int
    concepts: tuple[ConceptSummary, ...]


@dataclass(frozen=True, slots=True)
class _Trial:
    record: AnalysisRecord
    module: Module
    rank: float | None


def summarise_study(name: str, records: Sequence[AnalysisRecord]) -> StudySummary:
    """Sum up the analyses of a study; shares are of the prompts that count."""
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
    low, high = wilson(count, n)
    return Rate(count=count, n=n, share=count / n, low=low, high=high)


def _is_answered(record: AnalysisRecord) -> bool:
    """The model answers as expected, and otherwise on the donor."""
    if record.donor is None or not record.donor.swaps:
        return False
    first = record.answers[0]
    if record.goal == "contrast" and record.donor.contrast is not None:
        return first.logit > record.answers[1].logit and record.donor.contrast < 0
    return record.donor.swaps[0].effect.top == first.token and record.donor.answer != first.token


def _found(records: Iterable[AnalysisRecord], concept: str) -> Iterable[_Trial]:
    for record in records:
        modules = {one.module: one for one in record.modules}
        for one in record.concepts:
            if one.name == concept and one.module is not None:
                yield _Trial(record, modules[one.module], one.rank)


def _summary(concept: str, trials: Sequence[_Trial], n: int) -> ConceptSummary:
    swaps = [(trial, swap) for trial in trials if (swap := _swap(trial)) is not None]
    brought = sum(swap.effect.top_after == _donated(trial) for trial, swap in swaps)
    kept = sum(swap.effect.top_after == swap.effect.top for _, swap in swaps)
    gains = [_gain(trial.record, swap) for trial, swap in swaps]
    others = [
        (trial.record, one)
        for trial in trials
        if trial.record.donor
        for one in trial.record.donor.swaps
        if one.module != trial.module.module
    ]
    others_brought = sum(swap.effect.top_after == record.donor.answer for record, swap in others if record.donor)
    others_turned = sum((_gain(record, swap)[0] or 0.0) > 0 for record, swap in others)
    is_contrast = all(trial.record.goal == "contrast" for trial in trials)
    turned = [after > 0 for after, _, _ in gains if after is not None]
    return ConceptSummary(
        concept=concept,
        named_first=None if concept == STRONGEST else rate(sum(trial.rank == 0 for trial in trials), n),
        turns_contrast=rate(sum(turned), n) if is_contrast else None,
        brings_donor_answer=rate(brought, n),
        keeps_answer=rate(kept, n),
        others_turn_contrast=rate(others_turned, len(others)) if is_contrast else None,
        others_bring_donor_answer=rate(others_brought, len(others)),
        by_chance_keeps=_mean([swap.effect.random_top_kept for _, swap in swaps]),
        change=_mean([change for _, change, _ in gains]),
        chance=_mean([chance for _, _, chance in gains]),
        neurons=_mean([float(swap.effect.n_neurons) for _, swap in swaps]),
    )


def _gain(record: AnalysisRecord, swap: Swap) -> tuple[float | None, float | None, float | None]:
    """What the donor favours: its lead after the swap (contrasts only), how much it gained, and by random sets (logits)."""
    tokens = {one.token_id: one for one in swap.effect.tokens}
    if record.goal == "contrast":
        first, second = (tokens[one.token_id] for one in record.answers)
        by_chance = None
        if first.random_change is not None and second.random_change is not None:
            by_chance = second.random_change - first.random_change
        return second.logit_after - first.logit_after, second.logit_change - first.logit_change, by_chance
    given = record.donor.answer if record.donor else ""
    answer = next((one for one in swap.effect.tokens if one.token == given), None)
    return (None, answer.logit_change, answer.random_change) if answer else (None, None, None)


def _swap(trial: _Trial) -> Swap | None:
    """The swap of the trial's module; None where the donor has no match."""
    donor = trial.record.donor
    return next((one for one in donor.swaps if one.module == trial.module.module), None) if donor else None


def _donated(trial: _Trial) -> str:
    return trial.record.donor.answer if trial.record.donor else ""


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
