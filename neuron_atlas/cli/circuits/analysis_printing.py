"""Analyses, studies and comparisons on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
from rich.text import Text

from neuron_atlas.cli.printing import cell, out, print_facts, print_frame
from neuron_atlas.core.circuits.analysis.analysis_record import AnalysisRecord, Answers, Synthesis
from neuron_atlas.core.circuits.analysis.comparison.comparison_record import ComparisonRecord
from neuron_atlas.core.circuits.analysis.interventions.study_summary import StudySummary
from neuron_atlas.core.circuits.analysis.report.analysis_page import concept_text
from neuron_atlas.core.circuits.analysis.report.study_page import outcomes

MOST = 10
"""Rows of discriminators, and of differences."""


def show_analysis(record: AnalysisRecord, files: Sequence[Path], *, is_quiet: bool) -> None:
    """The modules, their tests, the swaps, what distinguishes the answers, and where the files are."""
    if not is_quiet:
        _show_modules(record)
        _show_swaps(record)
        _show_discriminators(record)
        facts = [(one.name, concept_text(one)) for one in record.concepts]
        account = record.synthesis
        facts.append(("account", account.narrative if isinstance(account, Synthesis) else f"none: {account.reason}"))
        print_facts([*facts, *(("note", note) for note in record.notes)])
    print_facts([("saved", str(path)) for path in files])


def _show_modules(record: AnalysisRecord) -> None:
    out.print(Text(cell(record.prompt), style="bold"))
    answers = ", ".join(f"{one.token!r} {one.probability:.1%}" for one in record.answers)
    print_facts([("answers", answers), ("graph", f"{record.n_neurons} neurons, {record.n_links} links")])
    out.print()
    rows = [
        {
            "module": one.module,
            "name": one.name,
            "neurons": one.size,
            "layers": f"{one.layer_min}-{one.layer_max}",
            "relevance": one.relevance,
            "without it": one.zeroed.tokens[0].logit_change if one.zeroed and one.zeroed.tokens else None,
            "random sets": one.zeroed.tokens[0].random_change if one.zeroed and one.zeroed.tokens else None,
        }
        for one in record.modules
    ]
    first = record.answers[0].token
    title = f"Modules (relevance in logits; without it: change of {cell(first)!r}'s logit)"
    print_frame(pl.DataFrame(rows, infer_schema_length=None), title=title, empty="none; lower --tau")
    out.print()


def _show_swaps(record: AnalysisRecord) -> None:
    if record.donor is None:
        return
    rows = [
        {
            "module": one.module,
            "neurons": one.effect.n_neurons,
            "before": one.effect.top,
            "after": one.effect.top_after,
            "kept by random sets": one.effect.random_top_kept,
        }
        for one in record.donor.swaps
    ]
    title = f"Modules set to their activations on {cell(record.donor.text)!r} (answer {record.donor.answer!r})"
    print_frame(pl.DataFrame(rows, infer_schema_length=None), title=title, empty="no module has a match there")
    out.print()


def _show_discriminators(record: AnalysisRecord) -> None:
    if not isinstance(record.compared, Answers):
        return
    names = [one.token for one in record.compared.answers]
    rows = [
        {
            "for": names[one.over],
            "against": names[one.under],
            "neuron": one.neuron,
            "at": f"{cell(one.token)} ({one.position})",
            "module": one.module,
            "difference": one.difference,
        }
        for one in sorted(record.compared.discriminators, key=lambda one: -abs(one.difference))[:MOST]
    ]
    print_frame(
        pl.DataFrame(rows, infer_schema_length=None), title="What distinguishes the answers (relevance, logits)"
    )
    out.print()


def show_study(summary: StudySummary, description: str, files: Sequence[Path], *, is_quiet: bool) -> None:
    """What swapping the module of every concept did."""
    if not is_quiet:
        out.print(Text(summary.name, style="bold"))
        if description:
            out.print(Text(cell(" ".join(description.split()))))
        counted = f"{summary.counted} of {summary.prompts} prompts answered as expected, theirs and the donor's"
        print_facts([("prompts", counted)])
        out.print()
        head, rows = outcomes(summary)
        print_frame(pl.DataFrame(rows, schema=dict.fromkeys(head, pl.String), orient="row"), title="Swapped modules")
    print_facts([("saved", str(path)) for path in files])


def show_comparison(record: ComparisonRecord, files: Sequence[Path]) -> None:
    """Similarities, matched modules, and the largest differences."""
    print_facts([("A", record.a.prompt), ("B", record.b.prompt), *(("note", note) for note in record.notes)])
    out.print()
    alike = [
        {"": n.replace("_", " "), "0 to 1": v, "what it is": record.definitions[n]}
        for n, v in record.similarities.items()
    ]
    print_frame(pl.DataFrame(alike, infer_schema_length=None), title="Similarity")
    out.print()
    modules = [one.model_dump() for one in record.modules]
    print_frame(pl.DataFrame(modules, infer_schema_length=None), title="Modules matched", empty="neither has modules")
    out.print()
    neurons = [
        one.model_dump(include={"key", "token", "relevance_a", "relevance_b", "difference", "found"})
        for one in record.neurons
    ]
    frame = pl.DataFrame(neurons[:MOST], infer_schema_length=None)
    total = record.n_neurons
    title = f"Neurons that differ most; {total.both} in both, {total.a} only in A, {total.b} only in B"
    print_frame(frame, title=title, empty="neither has neurons")
    if files:
        out.print()
        print_facts([("saved", str(path)) for path in files])
