"""`neuron-atlas export FOLDER`: a label set as Parquet or JSON lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from neuron_atlas.cli.open_stores import default_label_set, open_search_database
from neuron_atlas.cli.printing import json_option, out, print_facts, print_json

if TYPE_CHECKING:
    from neuron_atlas.adapters.neuron_db.export import Form

EXAMPLES = """Examples:

\b
  neuron-atlas export labels-today
  neuron-atlas export labels-today --format jsonl --duckdb .neuron_atlas/neuron_atlas.duckdb
"""


@click.command(epilog=EXAMPLES)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["parquet", "jsonl"]), default="parquet", show_default=True)
@click.option("--model", help="Labels of this model (id or revision).  [default: the settings']")
@click.option("--version", help="Labels of this version.  [default: the settings']")
@click.option(
    "--duckdb",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Export from this atlas file instead of the database; needs no server.",
)
@json_option
def export(
    folder: Path, form: Form, model: str | None, version: str | None, duckdb: Path | None, as_json: bool
) -> None:
    """Write labels, scores, clusters, quantiles and exemplars into a new FOLDER, with checksums.

    `neuron-atlas import FOLDER` reads it back, here or elsewhere.
    """
    from neuron_atlas.adapters.neuron_db.export import read_label_set, write_export

    if duckdb is not None:
        from neuron_atlas.adapters.atlas_duckdb.label_set import read_atlas_label_set

        contents = read_atlas_label_set(duckdb, version=version or "atlas")
    else:
        with open_search_database() as database:
            model, version = default_label_set(database, model, version)
            contents = database.server.run(lambda c: read_label_set(c, model=model, version=version), read_only=True)
    manifest = write_export(contents, folder, form=form)
    if as_json:
        print_json(manifest.model_dump())
        return
    out.print(f"{manifest.model_id}, labels {manifest.version!r}, in {folder}")
    print_facts((entry.name, f"{entry.rows:,} rows, {entry.bytes:,} bytes") for entry in manifest.files.values())
