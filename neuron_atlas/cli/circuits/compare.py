"""`neuron-atlas compare A B`: two graphs side by side."""

from __future__ import annotations

from pathlib import Path

import click

from neuron_atlas.cli.attribution.special_tokens import special_ids
from neuron_atlas.cli.circuits.analysis_files import write_text
from neuron_atlas.cli.circuits.analysis_printing import show_comparison
from neuron_atlas.cli.printing import json_option, print_json, progress
from neuron_atlas.core.circuits.analysis.comparison.alignment import Alignment

EXAMPLES = """Examples:

\b
  neuron-atlas compare graphs/relp-bend.json graphs/relp-nampa.json
  neuron-atlas compare a.json b.json --by end -o a-b.html
  neuron-atlas compare a.json b.json --json | jq .similarities
"""


@click.command(epilog=EXAMPLES)
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--by", type=click.Choice(["position", "end", "token"]), default="position", show_default=True,
              help="How positions are matched: counted from the start, from the end, or by equal tokens.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), multiple=True,
              help="Also write a file: .html a page, .json the record. Repeatable.")  # fmt: skip
@json_option
def compare(a: Path, b: Path, by: Alignment, output: tuple[Path, ...], as_json: bool) -> None:
    """Compare two saved graphs: shared neurons, links, flow and modules, and what only one has."""
    wrong = [path for path in output if path.suffix not in (".html", ".json")]
    if wrong:
        raise click.UsageError(f"{wrong[0]} must end in .html or .json")
    with progress.status("comparing …"):
        from neuron_atlas.adapters.graphs.graph_files import read_graph
        from neuron_atlas.core.circuits.analysis.compare import compare as compare_both

        graphs = [read_graph(path) for path in (a, b)]
        flagged = frozenset[int]().union(*(special_ids(graph.summary.model_revision) for graph in graphs))
        found = compare_both(*graphs, by=by, special_ids=flagged)
        record = found.record
    for path in output:
        is_page = path.suffix == ".html"
        write_text(path, found.to_html() if is_page else record.model_dump_json(indent=1) + "\n")
    if as_json:
        print_json(record.model_dump(mode="json"))
    else:
        show_comparison(record, output)
