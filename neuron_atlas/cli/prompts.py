"""`neuron-atlas prompts`: list prompt sets, add one."""

from __future__ import annotations

from pathlib import Path

import click
import polars as pl

from neuron_atlas.adapters.datasets.prompt_sets import add_prompt_file, list_prompt_sets, read_prompt_set
from neuron_atlas.cli.printing import json_option, out, print_frame, print_json
from neuron_atlas.settings import load_settings


@click.group()
def prompts() -> None:
    """List and add prompt sets: each is a partition of the attribution graphs."""


@prompts.command("list", epilog="Example: neuron-atlas prompts list")
@json_option
def list_(as_json: bool) -> None:
    """The prompt sets of the prompt folder."""
    folder = load_settings().prompts
    sets = [read_prompt_set(folder, name) for name in list_prompt_sets(folder)]
    rows = [
        {"prompt_set": s.name, "kind": s.kind, "prompts": len(s.prompts), "description": s.description} for s in sets
    ]
    if as_json:
        print_json(rows)
    else:
        print_frame(pl.DataFrame(rows))
        out.print(f"in {folder}", style="dim")


@prompts.command("add", epilog="Example: neuron-atlas prompts add my-prompts.yaml")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Replace a prompt set of the same name.")
def add(file: Path, replace: bool) -> None:
    """Check FILE (.yaml or .jsonl) and copy it into the prompt folder. More than 1,000 prompts become several sets.

    Set NEURON_ATLAS_PROMPTS to a folder of your own first. Afterwards reload the definitions in the Dagster UI, if it is open.
    """
    folder = load_settings().prompts.absolute()
    added = add_prompt_file(file, folder, replace=replace)
    out.print(f"added {', '.join(added.names)} ({added.n_prompts} prompts) to {folder}")
    out.print(f"next: neuron-atlas materialize raw_graphs --partition {added.names[0]}", style="dim")
