"""`neuron-atlas materialize` and one verb per stage: the same assets as in the UI, on the same Dagster instance.

What is up to date (judged by content) is not run again, so the same command continues an interrupted run.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import TYPE_CHECKING

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from neuron_atlas.adapters.subject_model.config import read_model_config
from neuron_atlas.cli.layer_option import layer_option
from neuron_atlas.cli.printing import json_option, out, print_json, progress
from neuron_atlas.core.layer_ranges import LayerRanges
from neuron_atlas.core.records import layer_key
from neuron_atlas.errors import BadInput
from neuron_atlas.settings import Settings, load_settings

if TYPE_CHECKING:
    from neuron_atlas.definitions import Resources, RunStep

EXAMPLES = """Examples:

\b
  neuron-atlas materialize                                      everything
  neuron-atlas materialize raw_graphs --partition geography     one prompt set
  neuron-atlas materialize output_labels --layer 3 --force      one layer again
  neuron-atlas materialize '+clusters'                          clusters and all they need
  neuron-atlas materialize --verify                             look for damage in everything stored
"""
force_option = click.option("--force", is_flag=True, help="Run also what is up to date.")
verify_option = click.option(
    "--verify",
    is_flag=True,
    help="Check the checksum of everything stored; what is damaged is set aside and made again.",
)
fresh_option = click.option("--fresh", is_flag=True, help="Discard the unfinished prompts of an interrupted run.")
partition_option = click.option("--partition", help="Only this prompt set, corpus or layer (L03).")


@click.command(epilog=EXAMPLES)
@click.argument("assets", nargs=-1)
@partition_option
@layer_option
@force_option
@verify_option
@fresh_option
@json_option
def materialize(
    assets: tuple[str, ...],
    partition: str | None,
    layers: LayerRanges | None,
    force: bool,
    verify: bool,
    fresh: bool,
    as_json: bool,
) -> None:
    """Build the atlas, or some ASSETS of it: names, stages (attribution, aggregation, labeling, circuits, publication) or a
    Dagster selection."""
    chosen = chosen_partitions(partition, layers)
    run_stage(list(assets) or ["*"], partition=chosen, force=force, verify=verify, fresh=fresh, as_json=as_json)


@click.command("build-db", epilog="Example: neuron-atlas build-db")
@force_option
@json_option
def build_db(force: bool, as_json: bool) -> None:
    """Publish the atlas file and the search database (stage publication)."""
    run_stage(["publication"], force=force, as_json=as_json)


def chosen_partitions(partition: str | None, layers: LayerRanges | None) -> str | list[str] | None:
    """The partition keys that `--partition` or `--layer` names; None without either. Raises `BadInput` for both at once, and for
    layers that the model does not have."""
    if layers is None:
        return partition
    if partition is not None:
        raise BadInput(f"--partition {partition} and --layer {layers} both choose partitions; give one of them")
    n_layers = read_model_config(load_settings().model).n_layers
    return [layer_key(layer) for layer in layers.of_model(n_layers)]


def run_stage(
    assets: list[str],
    *,
    partition: str | Collection[str] | None = None,
    force: bool = False,
    verify: bool = False,
    fresh: bool = False,
    as_json: bool,
    settings: Settings | None = None,
    resources: Resources | None = None,
) -> list[RunStep]:
    """Run the assets with a progress bar on stderr and say what was done; settings are the environment's and resources those of
    the settings unless given. Returns the state of each step of the run plan."""
    began = time.monotonic()
    columns = (TextColumn("{task.description:<34}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=progress, transient=True) as bar:
        task = bar.add_task("loading")
        from neuron_atlas.definitions import materialize as run_assets

        def listener(step: RunStep, number: int, of: int) -> None:
            started = step.state == "started"
            for text in step.damage if started else ():
                bar.console.print(f"damaged, is made again: {text}", style="yellow")
            bar.update(task, description=_name(step), completed=number - 1 if started else number, total=of)
            if not started and step.state == "done":
                bar.console.print(f"{_name(step):<60} {step.seconds:6.1f} s", style="dim")

        steps = run_assets(
            assets,
            partition=partition,
            only_missing=not force,
            verify=verify,
            fresh=fresh,
            listener=listener,
            settings=settings,
            resources=resources,
        )
    done = [step for step in steps if step.state == "done"]
    seconds = time.monotonic() - began
    if as_json:
        print_json(
            [
                {
                    "assets": [part.asset for part in step.parts],
                    "partition": step.parts[0].partition,
                    "state": step.state,
                    "seconds": round(step.seconds, 3),
                    "run_id": step.run_id,
                }
                for step in steps
            ]
        )
    elif done:
        runs = "1 run" if len(done) == 1 else f"{len(done)} runs"
        out.print(f"{runs} in {seconds:.0f} s; {len(steps) - len(done)} were up to date")
    else:
        out.print(f"everything is up to date ({seconds:.0f} s)")
    return steps


def _name(step: RunStep) -> str:
    partition = step.parts[0].partition
    return ", ".join(part.asset for part in step.parts) + (f" {partition}" if partition else "")
