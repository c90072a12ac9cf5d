"""`neuron-atlas label`: run the labeling stage, report on it (evidence, costs, coverage, scores), or label by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click
import polars as pl

from neuron_atlas.cli.layer_option import layer_option, old_layers, with_old_options
from neuron_atlas.cli.materialize import force_option, partition_option, run_stage
from neuron_atlas.cli.printing import json_option, out
from neuron_atlas.core.labeling.evidence.labeler_answer import UNANSWERED
from neuron_atlas.core.layer_ranges import LayerRanges
from neuron_atlas.core.records import SIDES, Side, layer_key
from neuron_atlas.defs.resources.labeler import layer_pass
from neuron_atlas.errors import BadInput
from neuron_atlas.settings import Settings, load_settings

if TYPE_CHECKING:
    from neuron_atlas.definitions import Resources

BUDGET_REACHED = 3
"""Exit code when the budget left neurons out."""
EXAMPLES = """Examples:

\b
  neuron-atlas label                                    both passes, then scores
  neuron-atlas label --pass output --layer 2..5         some layers of one pass
  neuron-atlas label --show L4/N17                      exactly what a language model would read
  neuron-atlas label --labeler openai --dry-run         what it would cost
  neuron-atlas label --labeler openai --budget 5        at most 5 USD in all, most useful neurons first
  neuron-atlas label --retry                            ask again for labels that did not come
  neuron-atlas label --report                           coverage and scores per pass and layer
  neuron-atlas label --interactive --pass input         label by hand
  neuron-atlas label --browse                           look through labels
"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--pass",
    "side",
    type=click.Choice(["output", "input"]),
    help="Only this pass: what neurons do (output), or what triggers them (input).",
)
@layer_option
@click.option("--layers", "layers_text", hidden=True)
@click.option("--start-layer", type=int, hidden=True)
@click.option("--end-layer", type=int, hidden=True)
@partition_option
@click.option("--labeler", help="rules, openai, openai-batch, human or import; default NEURON_ATLAS_LABELER.")
@click.option("--budget", type=click.FloatRange(min=0), help="Most USD that all calls of this atlas may cost.")
@click.option("--dry-run", is_flag=True, help="Print what it would cost, and stop.")
@click.option("--retry", is_flag=True, help="Ask again for labels that did not come (refused, cut off, no answer).")
@click.option("--show", metavar="NEURON", help="Print exactly what a language model would read of NEURON.")
@click.option("--report", is_flag=True, help="Print coverage and scores per pass and layer.")
@click.option(
    "--neighbours", is_flag=True, help="Label the same neurons with and without neighbour labels, and compare."
)
@click.option(
    "--prompt-injection", is_flag=True, help="Measure how often the labeler follows an instruction hidden in a text."
)
@click.option("--canaries", is_flag=True, hidden=True)
@click.option("--interactive", is_flag=True, help="Label by hand, neuron by neuron.")
@click.option("--resume", is_flag=True, help="With --interactive: continue where the last session ended.")
@click.option("--browse", is_flag=True, help="Look through the labels of the atlas.")
@force_option
@json_option
def label(
    side: Side | None,
    layers: LayerRanges | None,
    layers_text: str | None,
    start_layer: int | None,
    end_layer: int | None,
    partition: str | None,
    labeler: str | None,
    budget: float | None,
    dry_run: bool,
    retry: bool,
    show: str | None,
    report: bool,
    neighbours: bool,
    prompt_injection: bool,
    canaries: bool,
    interactive: bool,
    resume: bool,
    browse: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Label neurons and score the labels (stage labeling): what they do, late layers first; what triggers them, early first.

    Exit code 3 means that the budget left neurons out: run the same command with a larger one to continue.
    """
    from neuron_atlas.cli.labeling import reports
    from neuron_atlas.cli.labeling.browse import browse as browse_labels
    from neuron_atlas.cli.labeling.interactive import ask_person, label_by_hand
    from neuron_atlas.cli.labeling.label_data import LabelData
    from neuron_atlas.definitions import Resources

    settings = _settings(labeler, budget)
    if browse:
        browse_labels(settings, side or "output", ask_person)
        return
    resources = Resources.from_settings(settings)
    layers = with_old_options(layers, text=layers_text, start=start_layer, end=end_layer)
    if partition is not None:
        if layers is not None:
            raise BadInput(f"--partition {partition} and --layer {layers} both name layers; give one of them")
        layers = old_layers(partition)
    n_layers = resources.model.spec().n_layers
    chosen = list(range(n_layers)) if layers is None else layers.of_model(n_layers)
    if show is not None:
        reports.show(LabelData.open(settings), show, side, as_json=as_json)
    elif report:
        reports.report(settings, as_json=as_json)
    elif dry_run:
        reports.dry_run(LabelData.open(settings), side, chosen, as_json=as_json)
    elif neighbours:
        reports.neighbours(LabelData.open(settings), chosen, as_json=as_json)
    elif prompt_injection or canaries:  # its name in earlier versions
        reports.prompt_injection(LabelData.open(settings), chosen, as_json=as_json)
    elif interactive:
        label_by_hand(LabelData.open(settings), settings, side or "output", chosen, resume=resume)
    elif retry:
        _retry(settings, side, chosen, as_json=as_json)
    else:
        assets = [f"{side}_labels"] if side else ["labeling"]
        keys = [layer_key(layer) for layer in chosen] if layers is not None else None
        planned = replace(resources, labeler=resources.labeler.for_run(plan=_plan(side, chosen)))
        run_stage(assets, partition=keys, force=force, as_json=as_json, settings=settings, resources=planned)
        _print_missing(settings, resources)


def _plan(side: Side | None, layers: list[int]) -> list[str]:
    """The layers that share the budget, in the order in which they run."""
    outputs = [layer_pass("output", layer) for layer in reversed(layers)] if side != "input" else []
    return [*outputs, *(layer_pass("input", layer) for layer in layers if side != "output")]


def _settings(labeler: str | None, budget: float | None) -> Settings:
    settings = load_settings()
    changed = {"labeler": labeler or settings.labeler, "budget_usd": settings.budget_usd if budget is None else budget}
    if budget is not None and not changed["labeler"].startswith("openai"):  # pyright: ignore[reportAttributeAccessIssue]
        raise BadInput(
            f"--budget {budget:g} with labeler {changed['labeler']!r}, which costs nothing; add --labeler openai"
        )
    return settings.model_copy(update=changed)


def _retry(settings: Settings, side: Side | None, layers: list[int], *, as_json: bool) -> None:
    """Run the layers with unanswered labels once more; all other answers come from the ledger."""
    from neuron_atlas.definitions import Resources

    resources = Resources.from_settings(settings)
    asking = replace(resources, labeler=resources.labeler.for_run(retry=True))
    found = False
    for one in (side,) if side else SIDES:
        unanswered = _layers_with(settings, one, UNANSWERED, layers)
        if unanswered:
            found = True
            run_stage(
                [f"{one}_labels"],
                partition=unanswered,
                force=True,
                as_json=as_json,
                settings=settings,
                resources=asking,
            )
    if not found:
        out.print("no label is missing for lack of an answer: there is nothing to ask again")
        return
    _print_missing(settings, resources)
    if not as_json:
        out.print("Update the labels that read these with: neuron-atlas label", style="dim")


def _layers_with(settings: Settings, side: Side, reason: str, layers: list[int]) -> list[str]:
    from neuron_atlas.definitions import stored_tables

    tables = stored_tables(f"{side}_labels", settings=settings)
    if not tables:
        return []
    wanted = pl.col("unlabeled_reason").str.starts_with(reason) & pl.col("layer").is_in(layers)
    found = tables[f"{side}_labels"].filter(wanted).select("layer").unique().sort("layer").collect()
    return [layer_key(layer) for layer in found["layer"]]


def _print_missing(settings: Settings, resources: Resources) -> None:
    """After a run that costs money: what was left out or did not come, and the command that continues."""
    if not resources.labeler.is_paid:
        return
    from neuron_atlas.core.labeling.scoring.coverage_report import coverage
    from neuron_atlas.definitions import stored_tables

    found = coverage(stored_tables("output_labels", "input_labels", settings=settings))
    totals = found.filter(pl.col("layer").is_null(), pl.col("labeler") == settings.labeler)
    unanswered, left_out = int(totals["unanswered"].sum()), int(totals["left_out"].sum())
    spent = resources.language_model.open_ledger().spent()
    click.echo(f"spent so far: ${spent:.4f}", err=True)
    if unanswered:
        click.echo(f"{unanswered} labels did not come; ask again with: neuron-atlas label --retry", err=True)
    if left_out:
        click.echo(
            f"the budget of ${settings.budget_usd or 0:.2f} left {left_out} neurons out; continue with a larger --budget",
            err=True,
        )
        click.get_current_context().exit(BUDGET_REACHED)
