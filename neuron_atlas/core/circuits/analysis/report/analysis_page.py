"""The page of one analysis: the circuit, what its modules do, and how each was tested."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from neuron_atlas.core.circuits.analysis.analysis_record import (
    Absent,
    AnalysisRecord,
    Answers,
    Concept,
    Donor,
    Effect,
    Member,
    Module,
    WrittenToken,
)
from neuron_atlas.core.circuits.analysis.report import figures
from neuron_atlas.core.circuits.analysis.report.page_parts import (
    facts,
    folded,
    number,
    page,
    paragraph,
    section,
    shown,
    table,
)


def analysis_page(record: AnalysisRecord) -> str:
    """The whole page."""
    return page(
        record.prompt,
        [
            _opening(record),
            section("Account", _account(record)),
            section("Circuit", figures.circuit(record)),
            section("Modules", *(_card(record, one) for one in record.modules)),
            section("Without each module", _zeroed(record)),
            section("Flow between modules", figures.flow_matrix(record)),
            section("With modules of another prompt", _donor(record, record.donor) if record.donor else ""),
            section("Answers compared", _compared(record.compared)),
            section("Neurons in no module", _members(record.unclustered, with_reason=True)),
            section("How this was made", _made(record)),
        ],
    )


def analysis_cell(record: AnalysisRecord) -> str:
    """HTML for a notebook cell: the answers and a table of modules."""
    answers = ", ".join(f"{shown(one.token)} {one.probability:.1%}" for one in record.answers)
    head = ("module", "name", "neurons", "layers", "relevance (logits)")
    rows = [(one.module, one.name or "–", one.size, _layers(one), one.relevance) for one in record.modules]
    return f"<p><b>{escape(record.prompt)}</b> → {escape(answers)}</p>{table(head, rows)}"


def _opening(record: AnalysisRecord) -> str:
    answers = " · ".join(f"{shown(one.token)} {one.probability:.1%}" for one in record.answers)
    notes = "".join(paragraph(note, kind="soft") for note in record.notes)
    goal = {"top_k": "sum of the top logits", "tokens": "sum of the answers' logits", "contrast": "logit difference"}
    where = f"after {shown(record.tokens[record.position])} (position {record.position})"
    rows = [
        ("answers", answers),
        ("goal", f"{goal.get(record.goal, record.goal)} {number(record.goal_value)}, {where}"),
        ("model", f"{record.model_id}, rules {record.rules}"),
        ("graph", f"{record.n_neurons} neurons, {record.n_links} links"),
        ("found", f"{len(record.modules)} modules; {len(record.unclustered)} neurons in none"),
    ]
    rows += [
        (
            one.name,
            concept_text(one),
        )
        for one in record.concepts
    ]
    return f"<h1>{escape(record.prompt)}</h1>{facts(rows)}{notes}"


def concept_text(one: Concept) -> str:
    """The module found for a concept, as a sentence."""
    tokens = ", ".join(shown(token) for token in one.tokens)
    if one.module is None or one.rank is None:
        return f"no module was found for {tokens}"
    others = f"{one.rivals} rivals" if one.rivals else "all tokens"
    place = "above all of" if one.rank == 0 else f"below {number(one.rank)} of"
    return f"module {one.module} writes {tokens} {place} {others}, {number(one.margin)} logits above their mean"


def _account(record: AnalysisRecord) -> str:
    synthesis = record.synthesis
    if isinstance(synthesis, Absent):
        return paragraph(f"No account: {synthesis.reason}.", kind="absent")
    parts = [paragraph(f"Written by {synthesis.language_model} from the numbers below.", kind="soft")]
    parts += [paragraph(line) for line in synthesis.narrative.splitlines() if line.strip()]
    parts.append(table(("module", "name", "function"), [(m.module, m.name, m.function) for m in synthesis.modules]))
    parts += [paragraph(f"– {one}") for one in synthesis.insights]
    return "".join(parts)


def _card(record: AnalysisRecord, module: Module) -> str:
    places = ", ".join(f"{shown(record.tokens[at])} ({at})" for at in module.positions)
    share = "" if module.share is None else f", {module.share:.0%} of the goal"
    rows = [
        ("members", f"{module.size} in layers {_layers(module)} at {places}"),
        ("relevance", f"{number(module.relevance)} logits{share}; {number(module.direct)} of it direct"),
        ("flow", f"in {number(module.flow_in)}, out {number(module.flow_out)}, within {number(module.within)} logits"),
        ("raises", _tokens(module.promotes)),
        ("lowers", _tokens(module.suppresses)),
    ]
    if module.theme:
        rows.append(("theme", f"{module.theme} ({module.theme_share:.0%} of what its labeled members hold)"))
    name = module.name or f"unnamed: {module.unnamed}"
    return (
        f'<div class="card"><h3>Module {module.module}: {escape(name)}</h3>'
        f"{facts(rows)}{folded(f'{module.size} members', _members(module.members))}</div>"
    )


def _tokens(tokens: Sequence[WrittenToken]) -> str:
    return ", ".join(f"{shown(one.token)} {number(one.logit)}" for one in tokens) or "not measured"


def _layers(module: Module) -> str:
    low, high = module.layer_min, module.layer_max
    return str(low) if low == high else f"{low}–{high}"


def _members(members: Sequence[Member], *, with_reason: bool = False) -> str:
    head = ("neuron", "at", "activation", "relevance", "direct", "does", "fires on", *(("why",) if with_reason else ()))
    rows = [
        (
            one.neuron,
            f"{shown(one.token)} ({one.position})",
            one.activation,
            one.relevance,
            one.direct,
            one.does or "–",
            one.fires_on or "–",
            *((one.reason or "",) if with_reason else ()),
        )
        for one in members
    ]
    return table(head, rows)


def _zeroed(record: AnalysisRecord) -> str:
    bars: list[figures.Bar] = []
    for one in record.modules:
        if one.zeroed is not None and one.zeroed.tokens:
            first = one.zeroed.tokens[0]
            bars.append(
                figures.Bar(
                    f"module {one.module} ({one.size})", first.logit_change, first.random_change, first.random_std
                )
            )
    tested = [(one, one.zeroed) for one in record.modules if one.zeroed is not None]
    if not tested:
        return paragraph("Modules were not tested.", kind="absent")
    sets = tested[0][1].n_random_sets
    answer = shown(record.answers[0].token)
    caption = (
        f"Change of {answer}'s logit when a module is set to zero; grey: {sets} random sets of as many other neurons per "
        "layer and position, mean and standard deviation."
    )
    return figures.effects(bars, caption) + _effects_table([(f"module {one.module}", effect) for one, effect in tested])


def _effects_table(effects: Sequence[tuple[str, Effect]]) -> str:
    head = (
        "changed",
        "neurons",
        "token",
        "logit",
        "after",
        "change",
        "random sets",
        "as large by chance",
        "likeliest",
        "after",
        "kept by random sets",
    )
    rows = [
        (
            name,
            effect.n_neurons,
            shown(one.token),
            one.logit,
            one.logit_after,
            one.logit_change,
            one.random_change,
            one.random_share,
            shown(effect.top),
            shown(effect.top_after),
            effect.random_top_kept,
        )
        for name, effect in effects
        for one in effect.tokens
    ]
    return folded("numbers", table(head, rows))


def _donor(record: AnalysisRecord, donor: Donor) -> str:
    text = paragraph(
        f"The activations of each module set to those on “{donor.text}”, whose answer is {shown(donor.answer)}."
    )
    head = (
        "module",
        "donor's module",
        "likeness",
        "neurons changed",
        "likeliest before",
        "likeliest after",
        "kept by random sets",
    )
    rows = [
        (
            one.module,
            one.donor_module,
            one.likeness,
            one.effect.n_neurons,
            shown(one.effect.top),
            shown(one.effect.top_after),
            one.effect.random_top_kept,
        )
        for one in donor.swaps
    ]
    numbers = _effects_table([(f"module {one.module}", one.effect) for one in donor.swaps])
    return text + table(head, rows) + numbers


def _compared(compared: Answers | Absent) -> str:
    if isinstance(compared, Absent):
        return paragraph(f"Not compared: {compared.reason}.", kind="absent")
    names = [shown(one.token) for one in compared.answers]
    head = ("answer", "logit", "probability", "neurons that count for it", "for it alone")
    rows = [(shown(a.token), a.logit, a.probability, a.counting, a.specific) for a in compared.answers]
    apart = [
        (
            names[d.over],
            names[d.under],
            d.neuron,
            f"{shown(d.token)} ({d.position})",
            d.module,
            d.relevance_over,
            d.relevance_under,
            d.difference,
            d.is_opposed,
        )
        for d in compared.discriminators
    ]
    shared = [(s.neuron, f"{shown(s.token)} ({s.position})", s.module, *s.relevance) for s in compared.shared]
    specific = [
        (names[s.answer], s.neuron, f"{shown(s.token)} ({s.position})", s.module, s.relevance[s.answer])
        for s in compared.specific
    ]
    apart_head = (
        "for",
        "against",
        "neuron",
        "at",
        "module",
        "relevance for",
        "relevance against",
        "difference",
        "opposed",
    )
    return (
        table(head, rows, caption="Logits are measured against the vocabulary's mean.")
        + table(
            apart_head, apart[:20], caption="Discriminators: neurons whose relevance differs most between two answers."
        )
        + folded(f"all {len(apart)} discriminators", table(apart_head, apart) if len(apart) > 20 else "")
        + folded(f"{len(shared)} shared neurons", table(("neuron", "at", "module", *names), shared))
        + folded(
            f"{len(specific)} neurons of one answer", table(("answer", "neuron", "at", "module", "relevance"), specific)
        )
    )


def _made(record: AnalysisRecord) -> str:
    how = record.settings
    return facts(
        [
            ("neuron_atlas", record.code_version),
            ("model revision", record.model_revision or "unknown"),
            ("prompt id", record.prompt_id),
            (
                "modules",
                f"by {how.view}, of at least {how.min_size}, divided above {how.split_above}, {how.max_depth} levels",
            ),
            ("saving", f"{record.saving:.1%} of the code length"),
            ("splits", ", ".join(how.splits) or "none"),
            ("random sets", f"{how.random_sets}, seed {how.seed}"),
            *((name.replace("_", " "), number(value)) for name, value in record.scores.items()),
        ]
    )
