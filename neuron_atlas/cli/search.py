"""`neuron-atlas search`: labels by meaning, from the search database; filters hold inside the search."""

from __future__ import annotations

import re

import click
import polars as pl

from neuron_atlas.cli.printing import json_option, limit_option, out, print_frame, print_json, progress
from neuron_atlas.cli.stores import neuron_db
from neuron_atlas.errors import BadInput

EXAMPLES = """Examples:

\b
  neuron-atlas search "capitals of states"
  neuron-atlas search "plural verbs" --layer 3..5 --polarity + --side output --min-score 0.2
  neuron-atlas search --keyword enzyme --limit 5 --json
"""


@click.command(epilog=EXAMPLES)
@click.argument("text", required=False)
@click.option("--layer", "layers", metavar="N|FROM..TO", help="One layer or a range, ends included; 3.. is from 3 on.")
@click.option("--polarity", type=click.Choice(["+", "-"]), help="Only labels of this sign of the activation.")
@click.option("--side", type=click.Choice(["output", "input"]), help="What neurons do, or what triggers them.")
@click.option(
    "--min-score", type=click.FloatRange(-1, 1), help="Least score, corrected for chance (0 chance, 1 perfect)."
)
@click.option("--keyword", help="Text that label, description or tokens must contain.")
@limit_option
@json_option
def search(
    text: str | None,
    layers: str | None,
    polarity: str | None,
    side: str | None,
    min_score: float | None,
    keyword: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """The labels nearest in meaning to TEXT, nearest first; without TEXT those that pass the filters, best score first."""
    if text is None and keyword is None:
        raise BadInput("nothing to search for; give a TEXT, --keyword, or both (neuron-atlas search --help)")
    found = neuron_db().search(
        text,
        limit=limit,
        layers=layer_range(layers) if layers else None,
        polarity=None if polarity is None else 1 if polarity == "+" else -1,
        side="output" if side == "output" else "input" if side == "input" else None,
        min_score=min_score,
        keyword=keyword,
    )
    for warning in found.warnings:
        progress.print(f"warning: {warning}", style="yellow")
    rows = found.frame.with_columns(pl.Series("neuron_id", [str(hit.id) for hit in found.hits], dtype=pl.String))
    if as_json:
        print_json(rows)
        return
    print_frame(
        rows, columns=["neuron_id", "polarity", "side", "similarity", "score", "label"], empty="No labels pass."
    )
    out.print(f"{len(found.hits)} results", style="dim")


def layer_range(text: str) -> tuple[int | None, int | None]:
    """`3`, `3..12`, `3..` or `..12` as (from, to), ends included; raises `BadInput`."""
    match = re.fullmatch(r"(\d*)(\.\.)?(\d*)", text.strip())
    if match is None or not (match[1] or match[3]):
        raise BadInput(f"--layer {text!r} is no layer or range; expected 3, 3..12, 3.. or ..12")
    first, dots, last = match.groups()
    if not dots:
        return int(first), int(first)
    return (int(first) if first else None), (int(last) if last else None)
