"""The page of two graphs compared."""

from __future__ import annotations

from neuron_atlas.core.circuits.analysis.comparison.comparison_record import ComparisonRecord, Count, Side
from neuron_atlas.core.circuits.analysis.report import figures
from neuron_atlas.core.circuits.analysis.report.page_parts import facts, page, paragraph, section, shown, table

MOST = 50
"""Rows of a table on the page; the JSON holds more."""


def comparison_page(record: ComparisonRecord) -> str:
    """The whole page."""
    names = {"both": "in both", "a": "only in A", "b": "only in B"}
    neurons = [
        (one.key, shown(one.token or ""), one.relevance_a, one.relevance_b, one.difference, names[one.found])
        for one in record.neurons[:MOST]
    ]
    links = [
        (one.source, one.target, one.flow_a, one.flow_b, one.difference, names[one.found])
        for one in record.links[:MOST]
    ]
    modules = [(one.module_a, one.module_b, one.likeness, one.members, one.places) for one in record.modules]
    bars = [figures.Bar(one.source, one.difference, None, None) for one in record.answers[:15]]
    alike = [(name.replace("_", " "), value, record.definitions[name]) for name, value in record.similarities.items()]
    aligned = {"position": "by position", "end": "from the end", "token": "by their tokens"}
    return page(
        f"{record.a.prompt} / {record.b.prompt}",
        [
            "<h1>Two graphs compared</h1>",
            facts([("A", record.a.prompt), ("", _side(record.a)), ("B", record.b.prompt), ("", _side(record.b))]),
            paragraph(f"Positions are aligned {aligned[record.by]}; keys are in A's positions."),
            *(paragraph(note, kind="soft") for note in record.notes),
            section("Similarity", table(("", "0 to 1", "what it is"), alike), facts([
                ("neurons", _counted(record.n_neurons)), ("links", _counted(record.n_links))])),
            section("Modules", table(("in A", "in B", "likeness", "members shared", "places shared"), modules)),
            section("What differs at the answers", figures.effects(bars, "Direct flow to the answers, B less A (logits).")),
            section("Neurons", table(("neuron", "at", "relevance in A", "in B", "B less A", "found"), neurons)),
            section("Links", table(("from", "to", "flow in A", "in B", "B less A", "found"), links)),
        ],
    )  # fmt: skip


def _side(side: Side) -> str:
    answers = ", ".join(shown(one) for one in side.answers)
    return f"{answers} · {side.n_neurons} neurons, {side.n_links} links, {side.n_modules} modules"


def _counted(count: Count) -> str:
    return f"{count.both} in both, {count.a} only in A, {count.b} only in B"
