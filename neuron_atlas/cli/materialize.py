"""`neuron-atlas materialize` and one verb per stage: the same assets as in the UI, on the same Dagster instance.

What a run would not change is left alone, judged by content, so the same command again goes on where it was interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import TYPE_CHECKING

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from neuron_atlas.cli.printing import json_option, out, print_json, progress

if TYPE_CHECKING:
    from neuron_atlas.definitions import Resources, Stop
    from neuron_atlas.settings import Settings

EXAMPLES = """Examples:

\b
  neuron-atlas materialize                                      everything
  neuron-atlas materialize raw_graphs --partition geography     one prompt set
  neuron-atlas materialize output_labels --partition L03 --force    one layer again
  neuron-atlas materialize '+clusters'                          clusters and all they need
"""
force_option = click.option("--force", is_flag=True, help="Run also what would not change.")
fresh_option = click.option("--fresh", is_flag=True, help="Drop unfinished prompts of an interrupted run.")
partition_option = click.option("--partition", help="Only this prompt set, corpus or layer (L03).")


@click.command(epilog=EXAMPLES)
@click.argument("assets", nargs=-1)
@partition_option
@force_option
@fresh_option
@json_option
def materialize(assets: tuple[str, ...], partition: str | None, force: bool, fresh: bool, as_json: bool) -> None:
    """Build the atlas, or some ASSETS of it: names, stages (attribution, aggregation, labeling, circuits, publication) or a
    Dagster selection."""
    run_stage(list(assets) or ["*"], partition=partition, force=force, fresh=fresh, as_json=as_json)


@click.command("build-db", epilog="Example: neuron-atlas build-db")
@force_option
@json_option
def build_db(force: bool, as_json: bool) -> None:
    """Publish the atlas file and the search database (stage publication)."""
    run_stage(["publication"], force=force, as_json=as_json)


def run_stage(
    assets: list[str],
    *,
    partition: str | Collection[str] | None = None,
    force: bool = False,
    fresh: bool = False,
    as_json: bool,
    settings: Settings | None = None,
    resources: Resources | None = None,
) -> list[Stop]:
    """Run the assets with a progress bar on stderr and say what was done; settings are the environment's and resources those of
    the settings unless given. Returns what became of each stop."""
    began = time.monotonic()
    columns = (TextColumn("{task.description:<34}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=progress, transient=True) as bar:
        task = bar.add_task("loading")
        from neuron_atlas.definitions import materialize as run_assets

        def listener(stop: Stop, number: int, of: int) -> None:
            started = stop.state == "started"
            bar.update(task, description=_name(stop), completed=number - 1 if started else number, total=of)
            if not started and stop.state == "done":
                bar.console.print(f"{_name(stop):<60} {stop.seconds:6.1f} s", style="dim")

        stops = run_assets(
            assets,
            partition=partition,
            only_missing=not force,
            fresh=fresh,
            listener=listener,
            settings=settings,
            resources=resources,
        )
    done = [stop for stop in stops if stop.state == "done"]
    seconds = time.monotonic() - began
    if as_json:
        print_json(
            [
                {
                    "assets": [unit.asset for unit in stop.units],
                    "partition": stop.units[0].partition,
                    "state": stop.state,
                    "seconds": round(stop.seconds, 3),
                    "run_id": stop.run_id,
                }
                for stop in stops
            ]
        )
    elif done:
        runs = "1 run" if len(done) == 1 else f"{len(done)} runs"
        out.print(f"{runs} in {seconds:.0f} s; {len(stops) - len(done)} were up to date")
    else:
        out.print(f"everything is up to date ({seconds:.0f} s)")
    return stops


def _name(stop: Stop) -> str:
    partition = stop.units[0].partition
    return ", ".join(unit.asset for unit in stop.units) + (f" {partition}" if partition else "")
