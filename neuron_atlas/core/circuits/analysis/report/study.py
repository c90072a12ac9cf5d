"""The page of a study: what came of every concept, and each prompt in a line."""

from __future__ import annotations

from collections.abc import Sequence

from neuron_atlas.core.circuits.analysis.record import AnalysisRecord
from neuron_atlas.core.circuits.analysis.report.page import facts, page, paragraph, section, shown, table
from neuron_atlas.core.circuits.analysis.study import ConceptSummary, Rate, StudySummary


def study_page(summary: StudySummary, records: Sequence[AnalysisRecord]) -> str:
    """The whole page."""
    head = (
        "module of", "writes it first", "turns the contrast", "brings the donor's answer", "keeps the answer",
        "other modules turn it", "other modules bring it", "random sets keep it", "gain for the donor (logits)",
        "by random sets", "neurons changed",
    )  # fmt: skip
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
            section("Swapped modules", table(head, [_row(one) for one in summary.concepts]), paragraph(
                "Shares with their 95 % intervals (Wilson).", kind="soft")),
            section("Prompts", table(("prompt", "answer", "donor", "its answer", "modules swapped"), each)),
        ],
    )  # fmt: skip


def _row(one: ConceptSummary) -> tuple[object, ...]:
    kept = None if one.by_chance_keeps is None else f"{one.by_chance_keeps:.1%}"
    return (
        one.concept,
        _rate(one.named_first),
        _rate(one.turns_contrast),
        _rate(one.brings_donor_answer),
        _rate(one.keeps_answer),
        _rate(one.others_turn_contrast),
        _rate(one.others_bring_donor_answer),
        kept,
        one.change,
        one.chance,
        one.neurons,
    )


def _rate(rate: Rate | None) -> str:
    return "–" if rate is None else f"{rate.count}/{rate.n} ({rate.low:.0%} to {rate.high:.0%})"


def _outcome(record: AnalysisRecord, name: str, module: int | None) -> str:
    swaps = record.donor.swaps if record.donor else ()
    found = next((one for one in swaps if one.module == module), None)
    return f"{name}: module {module} → {shown(found.effect.top_after)}" if found else f"{name}: none"
