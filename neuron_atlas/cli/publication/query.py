"""`neuron-atlas query`: text and SQL against the atlas file. The seed's form `query DB PATTERN` works as well."""

from __future__ import annotations

from pathlib import Path

import click

from neuron_atlas.cli.open_stores import atlas
from neuron_atlas.cli.printing import json_option, limit_option, out, print_frame, print_json

EXAMPLES = """Examples:

\b
  neuron-atlas query "state capital"
  neuron-atlas query .neuron_atlas/neuron_atlas.duckdb enzyme --limit 5
  neuron-atlas query --sql "SELECT layer, count(*) AS neurons FROM neurons GROUP BY layer ORDER BY layer"
"""


@click.command(epilog=EXAMPLES)
@click.argument("words", metavar="[DB] PATTERN", nargs=-1, required=True)
@click.option("--sql", "is_sql", is_flag=True, help="PATTERN is a SELECT statement.")
@click.option("--layer", "layers", type=int, multiple=True, help="Only this layer (may be repeated).")
@limit_option
@json_option
def query(words: tuple[str, ...], is_sql: bool, layers: tuple[int, ...], limit: int, as_json: bool) -> None:
    """Neurons whose labels, descriptions or tokens match PATTERN, best first; or the rows of a SELECT."""
    is_file = len(words) == 2 and words[0].endswith((".duckdb", ".db"))
    path = Path(words[0]) if is_file else None
    pattern = " ".join(words[1:] if is_file else words)
    with atlas(path) as opened:
        found = opened.sql(pattern, limit=limit) if is_sql else opened.search(pattern, limit, layers=layers or None)
    if as_json:
        print_json(found)
    elif is_sql:
        print_frame(found, empty="no rows")
    else:
        print_frame(
            found, columns=["neuron_id", "score", "label", "promotes", "cluster_path"], empty="No matches found."
        )
        out.print(f"{found.height} results", style="dim")
