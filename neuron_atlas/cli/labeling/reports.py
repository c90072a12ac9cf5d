"""What `neuron-atlas label` prints without labeling: the evidence as read, costs, coverage and scores, comparisons."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click
import polars as pl

from neuron_atlas.cli.labeling.label_data import LABELS, LabelData
from neuron_atlas.cli.printing import out, print_facts, print_frame, print_json, progress
from neuron_atlas.core.labeling.label_layer import label_layer
from neuron_atlas.core.labeling.labelers.language_model import label_request
from neuron_atlas.core.labeling.scoring.neighbour_benefit import WithoutNeighbourLabels, compare_with_alone
from neuron_atlas.core.labeling.scoring.score import RUNS, score_layer
from neuron_atlas.core.records import SIDES, NeuronId, Side
from neuron_atlas.errors import BadInput, Incomplete

if TYPE_CHECKING:
    from neuron_atlas.core.labeling.evidence.evidence_record import Evidence
    from neuron_atlas.settings import Settings

INJECTED_NEURONS = 5


def show(data: LabelData, name: str, side: Side | None, *, as_json: bool) -> None:
    """The messages that request the label of one neuron, byte for byte."""
    found = [
        (one.evidence.name, each, label_request(one.evidence).messages)
        for each in ((side,) if side else SIDES)
        for one in data.of_neuron(NeuronId.parse(name), each)
    ]
    if as_json:
        print_json(
            [{"neuron": neuron, "pass": each, "messages": [asdict(m) for m in asked]} for neuron, each, asked in found]
        )
        return
    for neuron, each, asked in found:
        for message in asked:
            click.secho(f"--- {neuron}, {each} pass, {message.role}", dim=True)
            click.echo(message.content)


def dry_run(data: LabelData, side: Side | None, layers: list[int], *, as_json: bool) -> None:
    """What the configured language model would cost, per pass; labels of neighbours that are still to come count as absent."""
    from neuron_atlas.adapters.language_model.estimate import estimate

    labeler = data.resources.labeler
    if not labeler.is_paid:
        raise BadInput(
            f"labeler {labeler.kind!r} costs nothing; add --labeler openai to see what a language model would cost"
        )
    model = data.resources.language_model
    server, prices, ledger = model.server(), model.prices(), model.open_ledger()
    rows: list[dict[str, object]] = []
    for each in (side,) if side else SIDES:
        with progress.status(f"reading the evidence of the {each} pass"):
            requests = [
                label_request(one.evidence) for layer in layers for one in data.gathered(each, layer, as_draft=True)
            ]
        rows.append({"pass": each, **asdict(estimate(requests, server.address, ledger, prices))})
    spent = ledger.spent()
    if as_json:
        print_json({"model": model.name, "spent_usd": spent, "budget_usd": model.budget_usd, "passes": rows})
        return
    print_frame(pl.DataFrame(rows), title=f"{model.name}: what labeling would take (tokens are guessed)")
    facts: list[tuple[str, object]] = [("spent so far", f"${spent:.4f}")]
    if prices is None:
        facts.append(("cost", "unknown: set NEURON_ATLAS_PRICE_INPUT_USD and NEURON_ATLAS_PRICE_OUTPUT_USD"))
    else:
        facts.append(("expected in all", f"${sum(float(str(row['usd'])) for row in rows):.2f}"))
        facts.append(("budget", "none" if model.budget_usd is None else f"${model.budget_usd:.2f}"))
    print_facts(facts)


def report(settings: Settings, *, as_json: bool) -> None:
    """Coverage and scores per pass and layer, and stated confidence against measured score."""
    from neuron_atlas.core.labeling.scoring.calibration import calibration
    from neuron_atlas.core.labeling.scoring.coverage_report import coverage, scored
    from neuron_atlas.definitions import stored_tables

    tables = stored_tables(*LABELS, "label_scores", settings=settings)
    if not any(name in tables for name in LABELS):
        raise Incomplete("there are no labels yet; run: neuron-atlas label")
    covered = coverage(tables)
    is_scored = "label_scores" in tables
    scores = scored(tables["label_scores"]) if is_scored else pl.DataFrame()
    trust = calibration(tables, tables["label_scores"]) if is_scored else pl.DataFrame()
    if as_json:
        print_json({"coverage": covered.rename({"unanswered": "dead"}), "scores": scores, "calibration": trust})
        return
    print_frame(covered, title="Labels (no layer: all layers; abstained: left unlabeled for weak evidence)")
    out.print()
    print_frame(scores, title="Scores (corrected: 0 as another neuron's label, 1 perfect)", empty="not measured yet")
    if is_scored:
        out.print()
        print_frame(trust.drop("bin"), title="Stated confidence and measured score (gap above 0: overconfident)")


def neighbours(data: LabelData, layers: list[int], *, as_json: bool) -> None:
    """The same neurons labeled with and without neighbour labels, both scored, in one table."""
    spec, model = data.resources.model.spec(), data.resources.model.load()
    labels: dict[str, list[pl.DataFrame]] = {name: [] for name in LABELS}
    scores: list[pl.DataFrame] = []
    known = data.labels()
    for layer in layers:
        here: dict[str, pl.LazyFrame] = {}
        for side, name in zip(SIDES, LABELS, strict=True):
            labeler = data.resources.labeler.load()
            with progress.status(f"layer {layer}, {side} pass"):
                made = [
                    label_layer(
                        side, layer, evidence=data.evidence, labels=known, labeler=one,
                        model_revision=spec.revision, token_text=data.token_text,
                        prior=data.resources.label_store.both_sides(layer),
                    )[name]
                    for one in (labeler, WithoutNeighbourLabels(labeler))
                ]  # fmt: skip
            labels[name] += made
            here[name] = pl.concat(made).lazy()
        with progress.status(f"layer {layer}, scores"):
            measured = score_layer(model, layer, evidence=data.evidence, labels=here, budget=2 * RUNS)
            scores.append(measured["label_scores"])
    table = compare_with_alone(
        {name: pl.concat(frames).lazy() for name, frames in labels.items()}, pl.concat(scores).lazy()
    )
    if as_json:
        print_json(table)
        return
    print_frame(table.transpose(include_header=True, header_name="", column_names=[
        f"{row['pass']} {row['metric']}" for row in table.iter_rows(named=True)
    ]), title="Labels with and without neighbours' labels (alone: without)")  # fmt: skip


def prompt_injection(data: LabelData, layers: list[int], *, as_json: bool) -> None:
    """How often a labeler follows an instruction hidden in a text, instead of the evidence."""
    from neuron_atlas.core.labeling.scoring.prompt_injection import INJECTIONS, measure_injections

    evidence: list[Evidence] = []
    for side in SIDES:
        evidence += [one.evidence for one in data.gathered(side, layers[0], as_draft=True)[:INJECTED_NEURONS]]
    labeler = data.resources.labeler.load()
    found = measure_injections(labeler, evidence)
    if as_json:
        print_json({"labeler": labeler.name, "version": labeler.version, **asdict(found)})
        return
    out.print(
        f"{labeler.name} ({labeler.version}): {found.hijacked} of {found.n} labels follow the injection "
        f"({found.rate:.1%}, 95 % interval {found.low:.1%} to {found.high:.1%}); {len(INJECTIONS)} injections in "
        f"{len(evidence)} neurons; {found.refused} replies not usable, {found.unlabeled} abstained"
    )
