"""`neuron-atlas search`: labels by meaning and by words, from the search database or an atlas file; filters hold inside the
search."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click
import polars as pl

from neuron_atlas.cli.layer_option import layer_option
from neuron_atlas.cli.open_stores import default_label_set, open_atlas, open_search_database
from neuron_atlas.cli.printing import json_option, out, print_frame, print_json, progress
from neuron_atlas.core.layer_ranges import LayerRanges
from neuron_atlas.core.publication.search.search_query import MAX_LIMIT, LabelConditions, Mode
from neuron_atlas.errors import BadInput

EXAMPLES = """Examples:

\b
  neuron-atlas search "capitals of states"
  neuron-atlas search "plural verbs" --layer 3..5 --polarity + --side output --min-score 0.2
  neuron-atlas search enzyme --mode words --cluster 3 --duckdb .neuron_atlas/neuron_atlas.duckdb
  neuron-atlas search --keyword enzyme --labeler rules --limit 5 --json
  neuron-atlas search "renal filtering" --model meta-llama/Llama-3.1-8B-Instruct --version "transluce v1"
"""


@click.command(epilog=EXAMPLES)
@click.argument("text", required=False)
@layer_option
@click.option("--polarity", type=click.Choice(["+", "-"]), help="Only labels of this sign of the activation.")
@click.option("--side", type=click.Choice(["output", "input"]), help="What neurons do, or what triggers them.")
@click.option(
    "--min-score", type=click.FloatRange(-1, 1), help="Smallest score, corrected for chance (0: chance, 1: perfect)."
)
@click.option("--keyword", help="Text that the label, its description or its tokens must contain.")
@click.option(
    "--labeler", help="Only this labeler's labels, e.g. rules or human; default: for each neuron the best one's."
)
@click.option("--cluster", metavar="PATH", help="Only neurons of this cluster and those inside it, e.g. 3 or 3.1.")
@click.option(
    "--mode",
    type=click.Choice(get_args(Mode)),
    default="hybrid",
    show_default=True,
    help="Rank by meaning (vectors), by words (BM25), or by both.",
)
@click.option("--model", help="Labels of this model (id or revision).  [default: the settings']")
@click.option("--version", help="Labels of this version, e.g. 'transluce v1'.  [default: the settings']")
@click.option(
    "--duckdb",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Search this atlas file instead of the database; needs no server.",
)
@click.option("--limit", type=click.IntRange(1, MAX_LIMIT), default=20, show_default=True, help="Most hits.")
@json_option
def search(
    text: str | None,
    layers: LayerRanges | None,
    polarity: str | None,
    side: str | None,
    min_score: float | None,
    keyword: str | None,
    labeler: str | None,
    cluster: str | None,
    mode: Mode,
    model: str | None,
    version: str | None,
    duckdb: Path | None,
    limit: int,
    as_json: bool,
) -> None:
    """Labels that match TEXT, best match first; without TEXT those that pass the filters, highest score first."""
    conditions = LabelConditions(
        layers=layers,
        polarity=None if polarity is None else 1 if polarity == "+" else -1,
        side="output" if side == "output" else "input" if side == "input" else None,
        min_score=min_score,
        keyword=keyword,
        labeler=labeler,
        cluster=cluster,
    )
    if text is None and conditions == LabelConditions():
        raise BadInput(
            "nothing to search for; give a TEXT, a filter such as --keyword, or both (neuron-atlas search --help)"
        )
    if duckdb is not None and (model is not None or version is not None):
        raise BadInput("an atlas file holds the labels of one model and version; leave --model and --version out")
    if duckdb is None:
        with open_search_database() as database:
            model, version = default_label_set(database, model, version)
            found = database.search(text, mode=mode, filters=conditions, limit=limit, model=model, version=version)
    else:
        with open_atlas(duckdb) as opened:
            found = opened.labels.search(text, mode=mode, filters=conditions, limit=limit)
    for warning in found.warnings:
        progress.print(f"warning: {warning}", style="yellow")
    rows = found.frame.with_columns(neuron_id=pl.format("L{}/N{}", "layer", "neuron"))
    if as_json:
        print_json(rows)
        return
    shown = ["neuron_id", "polarity", "side", "similarity", "words_score", "score", "label"]
    print_frame(rows, columns=shown, empty="No labels pass.")
    out.print(f"{rows.height} results", style="dim")
