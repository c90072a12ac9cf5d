"""`neuron-atlas import FILE`: labels that somebody else made."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.text import Text

from neuron_atlas.cli.printing import cell, json_option, out, print_json, progress
from neuron_atlas.settings import load_settings

if TYPE_CHECKING:
    from neuron_atlas.adapters.label_files import Kind

KINDS = ("labels-json", "neuronpedia", "goodfire")
_SHOWN = 5


@click.command("import", epilog="Example: neuron-atlas import explanations/batch-0.jsonl.gz")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--kind", type=click.Choice(KINDS), help="What the file is; default: found out from its content.")
@json_option
def import_(file: Path, kind: Kind | None, as_json: bool) -> None:
    """Take over labels from FILE: a label database in JSON, or JSONL of Neuronpedia explanations or of Goodfire-like features.

    They are kept in the atlas's home beside labels by people, survive every rebuild, and join the labels with the next
    `neuron-atlas label`. The same file again changes nothing; an interrupted import goes on where it was.
    """
    from neuron_atlas.adapters.label_files import read_labels
    from neuron_atlas.adapters.label_store import open_label_store
    from neuron_atlas.defs.resources import Resources

    settings = load_settings()
    lines: list[str] = []
    found, labels = read_labels(file, refused=lines.append, kind=kind)
    model = Resources.of(settings).model.spec()
    with open_label_store(settings.labels) as store, progress.status(f"reading {file.name}") as status:
        done = store.add(labels, model=model, progress=lambda n: status.update(f"{n:,} labels read"))
    if as_json:
        print_json(
            {"file": str(file), "kind": found, **asdict(done), "unreadable": len(lines), "lines": lines[:_SHOWN]}
        )
        return
    out.print(f"{found}: {done.added:,} labels added, {done.unchanged:,} were there already")
    left_out = done.refused + len(lines)
    if left_out:
        out.print(f"{left_out:,} left out, for example:")
        for reason in (*lines, *done.reasons)[:_SHOWN]:
            out.print(Text(f"  {cell(reason)}", style="dim"))
    if done.added:
        out.print("They join the others with: neuron-atlas label", style="dim")
