"""`neuron-atlas summary`: what an atlas contains, and two example questions with the commands that answer them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import polars as pl
from rich.text import Text

from neuron_atlas.cli.open_stores import open_atlas
from neuron_atlas.cli.printing import cell, json_option, out, print_facts, print_frame, print_json

if TYPE_CHECKING:
    from neuron_atlas.adapters.atlas_duckdb import Atlas
    from neuron_atlas.adapters.atlas_duckdb.summary import AtlasSummary


@click.command(epilog="Example: neuron-atlas summary")
@click.argument("db", required=False, type=click.Path(path_type=Path))
@json_option
def summary(db: Path | None, as_json: bool) -> None:
    """What the atlas (of the settings, or the file DB) contains, with two example questions and the commands that answer them."""
    with open_atlas(db) as opened:
        found = opened.summary()
        counts = found.counts.row(0, named=True)
        if as_json:
            print_json({**counts, "labels": found.labels, "scores": found.scores})
            return
        out.print(Text(f"Atlas of {counts['model']}", style="bold"), Text(str(opened.path), style="dim"))
        print_facts(_facts(counts, found.labels))
        out.print()
        print_frame(found.scores, title="Label scores (means; 0 above chance: no better than another neuron's label)")
        _questions(opened, found)


def _facts(counts: dict[str, object], labels: pl.DataFrame) -> list[tuple[str, object]]:
    quarantined = f", {counts['quarantined']} prompts not traced" if counts["quarantined"] else ""
    facts: list[tuple[str, object]] = [
        ("graphs", f"{counts['graphs']} (conservation within {counts['conservation_error']:.1e}{quarantined})"),
        ("neurons", f"{counts['neurons']}, {counts['neurons_in_graphs']} of them in graphs"),
        ("edges", f"{counts['edges']:,}"),
        ("clusters", f"{counts['clusters']}, {counts['stable_clusters']} stable"),
    ]
    for row in labels.iter_rows(named=True):
        facts.append((f"{row['side']} labels", f"{row['labeled']}, {row['abstained']} left unlabeled (weak evidence)"))
    return facts


def _questions(opened: Atlas, found: AtlasSummary) -> None:
    if found.top_cluster is not None:
        text = found.top_cluster
        out.print(Text(f"\nWhich neurons have to do with “{cell(text)}”?", style="bold"))
        print_frame(opened.search(text, 3), columns=["neuron_id", "label", "promotes"])
        out.print(f'neuron-atlas query "{cell(text)}"', style="dim")
    if found.top_neuron is not None:
        name, does, trigger = found.top_neuron
        out.print(Text(f"\nWhat is {name}, and what is it wired to?", style="bold"))
        print_facts([("it does", does), ("it fires on", trigger)])
        wires = pl.concat(opened.edges(name, direction, limit=3) for direction in ("upstream", "downstream"))
        print_frame(wires, columns=["direction", "other", "label", "weight_mean", "n_prompts"])
        out.print(f"neuron-atlas neuron {name}", style="dim")
    out.print("\nMore: neuron-atlas --help; make dev opens the Dagster UI.", style="dim")
