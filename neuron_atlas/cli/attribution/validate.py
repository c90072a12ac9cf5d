"""`neuron-atlas validate FILE...`: can viewers show these graph files, and can they be imported?"""

from __future__ import annotations

from pathlib import Path

import click
from rich.text import Text

from neuron_atlas.cli.printing import cell, json_option, out, print_json

LEVELS = ("schema", "viewer", "lossless")
EXAMPLES = """Examples:

\b
  neuron-atlas validate graphs/*.json
  neuron-atlas validate --level schema downloaded.json

Levels, each including those before it: schema (Neuronpedia's attribution-graph schema 1.0.0), viewer (what its viewer and upload
need without the schema saying so), lossless (importing keeps everything). Exit codes: 0 all files pass the level, 1 some do
not, 2 a file cannot be opened.
"""


@click.command(epilog=EXAMPLES)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--level", type=click.Choice(LEVELS), default="viewer", show_default=True, help="Level that must pass.")
@json_option
@click.pass_context
def validate(ctx: click.Context, files: tuple[Path, ...], level: str, as_json: bool) -> None:
    """Check graph files (Neuronpedia's JSON or the older form), level by level, and report what is wrong."""
    from neuron_atlas.adapters.graphs.graph_files import check_graph_file

    checked = [(file, check_graph_file(file)) for file in files]
    passing = [found.passes(level) for _, found in checked]  # pyright: ignore[reportArgumentType]: a Choice of levels
    if as_json:
        print_json(
            [
                {
                    "file": str(file),
                    "passes": passes,
                    "form": found.form or None,
                    "slug": found.slug or None,
                    "scan": found.scan or None,
                    "nodes": found.nodes,
                    "links": found.links,
                    "faults": [{"level": fault.level, "message": fault.message} for fault in found.faults],
                }
                for (file, found), passes in zip(checked, passing, strict=True)
            ]
        )
    else:
        for (file, found), passes in zip(checked, passing, strict=True):
            line = Text("ok    " if passes else "FAIL  ", style="green" if passes else "bold red")
            line.append(cell(str(file)), style="not bold default")
            if found.form:
                line.append(f"  {found.form} form, {found.nodes:,} nodes, {found.links:,} links", style="not bold dim")
            out.print(line, soft_wrap=True)
            for fault in found.faults:
                out.print(Text(f"      {fault.level:<9}", style="dim") + Text(cell(fault.message)), soft_wrap=True)
    ctx.exit(0 if all(passing) else 1)
