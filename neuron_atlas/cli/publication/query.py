"""`neuron-atlas query`: text and SQL against the atlas file. An atlas file may be named first: `query DB PATTERN`."""

from __future__ import annotations

from pathlib import Path

import click

from neuron_atlas.cli.layer_option import layer_option
from neuron_atlas.cli.open_stores import open_atlas
from neuron_atlas.cli.printing import json_option, limit_option, out, print_frame, print_json
from neuron_atlas.core.layer_ranges import LayerRanges

EXAMPLES = """Examples:

\b
  neuron-atlas query "state capital"
  neuron-atlas query "plural verb" --layer 2..4
  neuron-atlas query .neuron_atlas/neuron_atlas.duckdb enzyme --limit 5
  neuron-atlas query --sql "SELECT layer, count(*) AS neurons FROM neurons GROUP BY layer ORDER BY layer"
"""


@click.command(epilog=EXAMPLES)
@click.argument("words", metavar="[DB] PATTERN", nargs=-1, required=True)
@click.option("--sql", "is_sql", is_flag=True, help="PATTERN is a SELECT statement.")
@layer_option
@limit_option
@json_option
def query(words: tuple[str, ...], is_sql: bool, layers: LayerRanges | None, limit: int, as_json: bool) -> None:
    """Neurons whose labels, descriptions or tokens match PATTERN, best first; or the rows of a SELECT."""
    is_file = len(words) == 2 and words[0].endswith((".duckdb", ".db"))
    path = Path(words[0]) if is_file else None
    pattern = " ".join(words[1:] if is_file else words)
    with open_atlas(path) as opened:
        found = opened.sql(pattern, limit=limit) if is_sql else opened.search(pattern, limit, layers=layers)
    if as_json:
        print_json(found)
    elif is_sql:
        print_frame(found, empty="no rows")
    else:
        print_frame(
            found, columns=["neuron_id", "score", "label", "promotes", "cluster_path"], empty="No matches found."
        )
        out.print(f"{found.height} results", style="dim")
