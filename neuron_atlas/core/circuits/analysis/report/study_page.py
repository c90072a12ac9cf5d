"""The page of a study: what swapping the module of every concept did, and a line for each prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from neuron_atlas.core.circuits.analysis.analysis_record import AnalysisRecord
from neuron_atlas.core.circuits.analysis.interventions.study_summary import (
    STRONGEST,
    ConceptSummary,
    Rate,
    StudySummary,
)
from neuron_atlas.core.circuits.analysis.report.page_parts import facts, page, paragraph, section, shown, table


def study_page(summary: StudySummary, records: Sequence[AnalysisRecord]) -> str:
    """The whole page."""
    each = [
        (
            one.prompt,
            shown(one.answers[0].token),
            *((one.donor.text, shown(one.donor.answer)) if one.donor else ("–", "–")),
            "; ".join(_outcome(one, concept.name, concept.module) for concept in one.concepts),
        )
        for one in records
    ]
    return page(
        summary.name,
        [
            "<h1>Study</h1>",
            facts([("study", summary.name), ("prompts", f"{summary.prompts}, {summary.counted} answered as expected")]),
            section("Swapped modules", table(*outcomes(summary)), paragraph(
                "Shares with their 95 % intervals (Wilson).", kind="soft")),
            section("Prompts", table(("prompt", "answer", "donor", "its answer", "modules swapped"), each)),
        ],
    )  # fmt: skip


def outcomes(summary: StudySummary) -> tuple[tuple[str, ...], list[tuple[str | None, ...]]]:
    """Head and rows of what swapping did: a column for every module looked for, a row for every question."""
    questions: dict[str, Callable[[ConceptSummary], str | None]] = {
        "writes its concept first": lambda one: _rate(one.named_first),
        "turns the contrast": lambda one: _rate(one.turns_contrast),
        "brings the donor's answer": lambda one: _rate(one.brings_donor_answer),
        "keeps the answer": lambda one: _rate(one.keeps_answer),
        "other modules turn the contrast": lambda one: _rate(one.others_turn_contrast),
        "other modules bring the donor's answer": lambda one: _rate(one.others_bring_donor_answer),
        "random sets keep the answer": lambda one: (
            None if one.by_chance_keeps is None else f"{one.by_chance_keeps:.1%}"
        ),
        "gain for the donor, logits": lambda one: _logits(one.change),
        "the same by random sets, logits": lambda one: _logits(one.chance),
        "neurons changed": lambda one: None if one.neurons is None else f"{one.neurons:.0f}",
    }
    head = (
        "the module",
        *(f"of the {one.concept}" if one.concept != STRONGEST else STRONGEST for one in summary.concepts),
    )
    rows = [(question, *(answer(one) for one in summary.concepts)) for question, answer in questions.items()]
    return head, [row for row in rows if any(value is not None for value in row[1:])]


def _rate(rate: Rate | None) -> str | None:
    return None if rate is None else f"{rate.count}/{rate.n} ({rate.low:.0%} to {rate.high:.0%})"


def _logits(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}"


def _outcome(record: AnalysisRecord, name: str, module: int | None) -> str:
    swaps = record.donor.swaps if record.donor else ()
    found = next((one for one in swaps if one.module == module), None)
    return f"{name}: module {module} → {shown(found.effect.top_after)}" if found else f"{name}: none"
