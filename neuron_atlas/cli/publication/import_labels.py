"""`neuron-atlas import SOURCE`: labels from elsewhere, a file of them or a whole database."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from neuron_atlas.cli.printing import json_option, print_json, progress
from neuron_atlas.cli.publication import import_databases
from neuron_atlas.settings import load_settings

if TYPE_CHECKING:
    from neuron_atlas.adapters.labels.label_files import Kind

FILES: tuple[Kind, ...] = ("labels-json", "neuronpedia", "goodfire")
EXAMPLES = """Examples:

\b
  neuron-atlas import explanations/batch-0.jsonl.gz
  neuron-atlas import labels-today                 # a folder of neuron-atlas export
  neuron-atlas import other/neuron_atlas.duckdb    # an atlas file
  neuron-atlas import postgresql://clarity@localhost:5432/neurons
"""


@click.command("import", epilog=EXAMPLES)
@click.argument("source")
@click.option(
    "--kind",
    type=click.Choice([*FILES, *import_databases.KINDS]),
    help="What the source is; default: recognized from its name and content.",
)
@json_option
def import_(source: str, kind: str | None, as_json: bool) -> None:
    """Import labels from SOURCE.

    A file of labels (a label database in JSON, JSONL of Neuronpedia explanations or of Goodfire-like features) is kept in the
    atlas's home beside labels by people, survives every rebuild, and is added to the labels by the next `neuron-atlas label`.

    Whole label sets go into the search database, under their own model and version: a folder that `neuron-atlas export` wrote, an
    atlas file, or a NeuronDB of Transluce (`postgresql://user:password@host:5432/neurons`, or the word `transluce` for the
    server of PG_HOST). A NeuronDB's labels of this atlas's own model are also added to the labels, like those of a file.

    Importing the same source again changes nothing; an interrupted import continues where it stopped.
    """
    of_sets = import_databases.kind_of(source) if kind is None else import_databases.KINDS.get(kind)
    if of_sets is not None:
        import_databases.import_label_sets(source, of_sets, load_settings(), as_json=as_json)
        return
    _import_file(Path(source), next((k for k in FILES if k == kind), None), as_json=as_json)


def _import_file(file: Path, kind: Kind | None, *, as_json: bool) -> None:
    from neuron_atlas.adapters.labels.label_files import read_labels
    from neuron_atlas.adapters.labels.label_store import open_label_store
    from neuron_atlas.defs.resources.atlas_resources import Resources

    settings = load_settings()
    lines: list[str] = []
    found, labels = read_labels(file, refused=lines.append, kind=kind)
    model = Resources.from_settings(settings).model.spec()
    with open_label_store(settings.labels) as store, progress.status(f"reading {file.name}") as status:
        done = store.add(labels, model=model, progress=lambda n: status.update(f"{n:,} labels read"))
    if as_json:
        print_json(
            {
                "file": str(file),
                "kind": found,
                **asdict(done),
                "unreadable": len(lines),
                "lines": lines[: import_databases.SHOWN],
            }
        )
        return
    import_databases.print_joined(found, done, lines)
