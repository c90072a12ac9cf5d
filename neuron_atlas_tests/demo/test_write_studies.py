"""The studies of the demo model: files that equal what writes them, and circuits that do what the case studies say.

Bounds are far below what was measured (docs/case-studies.md), and far above what chance gives.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from neuron_atlas import demo
from neuron_atlas.adapters.analyses.study_config import read_study_config, shipped_studies
from neuron_atlas.core.circuits.analysis.analyze import analyze
from neuron_atlas.core.circuits.analysis.interventions.study_summary import (
    ConceptSummary,
    StudySummary,
    summarise_study,
)
from neuron_atlas.demo import write_studies as studies

EVERY = {"two-hop-geography": 4, "agreement": 5}
"""Every how many-th prompt is asked here."""


@pytest.fixture(scope="module")
def model():
    import torch

    import neuron_atlas as na

    torch.set_num_threads(1)
    return na.load_model(str(demo.MODEL_DIR))


def asked(model, name: str) -> StudySummary:
    study = read_study_config(shipped_studies()[name])
    options = replace(study.options, random_sets=3, compared_answers=0)
    records = [
        analyze(model, replace(one.prompt, tags={}), options=options, donor=one.donor, concepts=one.concepts).record
        for one in study.tasks[:: EVERY[name]]
    ]
    return summarise_study(name, records)


def concept(summary: StudySummary, name: str) -> ConceptSummary:
    return next(one for one in summary.concepts if one.concept == name)


def test_the_files_are_what_the_world_says() -> None:
    assert set(shipped_studies()) == set(studies.studies())
    for name, path in shipped_studies().items():
        assert path.read_text(encoding="utf-8") == studies.study_text(name)


def test_swapping_the_strongest_module_changes_the_capital_and_random_sets_do_not(model) -> None:
    summary = asked(model, "two-hop-geography")
    assert summary.counted >= 0.8 * summary.prompts
    state, strongest = concept(summary, "state"), concept(summary, "strongest")
    assert state.named_first is not None
    assert state.named_first.share >= 0.3
    assert strongest.brings_donor_answer is not None
    assert strongest.others_bring_donor_answer is not None
    assert strongest.brings_donor_answer.share >= 0.6
    assert strongest.others_bring_donor_answer.share <= 0.4
    assert strongest.by_chance_keeps is not None
    assert strongest.by_chance_keeps >= 0.9


def test_swapping_the_module_of_the_subjects_number_turns_the_verb(model) -> None:
    summary = asked(model, "agreement")
    assert summary.counted >= 0.8 * summary.prompts
    number = concept(summary, "number at the subject")
    assert number.named_first is not None
    assert number.named_first.share >= 0.3
    assert number.turns_contrast is not None
    assert number.turns_contrast.share >= 0.5
    assert number.change is not None
    assert number.chance is not None
    assert number.change >= 5.0 > 1.0 >= abs(number.chance)
