"""`neuron-atlas prompts`: which prompt sets there are, and adding one."""

from __future__ import annotations

import json
from pathlib import Path

import click
import polars as pl

from neuron_atlas.adapters.datasets.prompt_sets import list_prompt_sets, prompt_entry, read_prompt_file, read_prompt_set
from neuron_atlas.adapters.files import make_folder, write_atomically
from neuron_atlas.cli.printing import json_option, out, print_frame, print_json
from neuron_atlas.errors import BadInput
from neuron_atlas.settings import load_settings

SHARD = 1000
"""Prompts per shard of a big file: a partition of this size is minutes of work and Dagster keeps well below its limits."""


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
    """Check FILE (.yaml or .jsonl) and copy it into the prompt folder; more than 1,000 prompts become shards.

    Set NEURON_ATLAS_PROMPTS to a folder of your own first. Afterwards reload the definitions in the Dagster UI.
    """
    folder = make_folder(load_settings().prompts.absolute())
    added = read_prompt_file(file)
    shards = [added.prompts[i : i + SHARD] for i in range(0, len(added.prompts), SHARD)]
    names = [added.name] if len(shards) == 1 else [f"{added.name}-{i:04d}" for i in range(len(shards))]
    taken = sorted(set(names) & set(list_prompt_sets(folder)))
    if taken and not replace:
        raise BadInput(f"prompt sets {taken} exist in {folder}; pass --replace to overwrite them, or rename the file")
    for name, shard in zip(names, shards, strict=True):
        entries = [prompt_entry(prompt) for prompt in shard]
        content = {"name": name, "kind": added.kind, "description": added.description, "prompts": entries}
        write_atomically(folder / f"{name}.yaml", json.dumps(content, ensure_ascii=False, indent=1))  # JSON is YAML
    out.print(f"added {', '.join(names)} ({len(added.prompts)} prompts) to {folder}")
    out.print(f"next: neuron-atlas materialize raw_graphs --partition {names[0]}", style="dim")
