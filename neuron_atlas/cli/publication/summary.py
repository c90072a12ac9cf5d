"""`neuron-atlas summary`: what an atlas contains, and two example questions with the commands that answer them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import polars as pl
from rich.text import Text

from neuron_atlas.cli.open_stores import atlas
from neuron_atlas.cli.printing import cell, json_option, out, print_facts, print_frame, print_json

if TYPE_CHECKING:
    from neuron_atlas.adapters.atlas_duckdb import Atlas

COUNTS = """
SELECT
    (SELECT value FROM metadata WHERE key = 'model_id') AS model,
    (SELECT count(*) FROM graphs WHERE reason IS NULL) AS graphs,
    (SELECT count(*) FROM graphs WHERE reason IS NOT NULL) AS quarantined,
    (SELECT count(*) FROM neurons) AS neurons,
    (SELECT count(*) FROM neurons WHERE n_prompts > 0) AS neurons_in_graphs,
    (SELECT count(*) FROM edge_stats) AS edges,
    (SELECT count(*) FROM clusters WHERE level = 1) AS clusters,
    (SELECT count(*) FROM clusters WHERE level = 1 AND is_stable) AS stable_clusters,
    (SELECT max(conservation_error) FROM graphs) AS conservation_error
"""
LABELS = """
SELECT side, count(*) FILTER (label IS NOT NULL) AS labeled, count(*) FILTER (label IS NULL) AS abstained
FROM (SELECT 'output' AS side, label FROM output_labels UNION ALL SELECT 'input', label FROM input_labels)
GROUP BY side ORDER BY side DESC
"""
SCORES = """
SELECT side, metric, count(corrected) AS labels, avg(score) AS score, avg(null_score) AS shuffled_label,
       avg(corrected) AS above_chance
FROM label_scores WHERE metric <> 'projection_rank' GROUP BY side, metric ORDER BY side DESC, metric
"""
TOP_CLUSTER = """
SELECT l.label FROM cluster_labels AS l JOIN clusters AS c ON c.path = l.path AND l.is_best
WHERE c.level = 1 AND l.label IS NOT NULL ORDER BY c.is_stable DESC, c.flow DESC LIMIT 1
"""
TOP_NEURON = """
SELECT neuron_id, output_label, input_label FROM neurons
WHERE output_label IS NOT NULL AND input_label IS NOT NULL
ORDER BY n_prompts >= 20 AND output_score >= 0.8 AND input_score >= 0.7 DESC NULLS LAST, relevance_abs_mean DESC, neuron_id
LIMIT 1
"""
"""The neuron that does most, of those at work in many prompts whose labels both hold (of all, where there is none)."""


@click.command(epilog="Example: neuron-atlas summary")
@click.argument("db", required=False, type=click.Path(path_type=Path))
@json_option
def summary(db: Path | None, as_json: bool) -> None:
    """What the atlas (of the settings, or the file DB) contains, with two example questions and the commands that answer them."""
    with atlas(db) as opened:
        counts, labels, scores = opened.sql(COUNTS), opened.sql(LABELS), opened.sql(SCORES)
        if as_json:
            print_json({**counts.row(0, named=True), "labels": labels, "scores": scores})
            return
        out.print(Text(f"Atlas of {counts['model'][0]}", style="bold"), Text(str(opened.path), style="dim"))
        print_facts(_facts(counts.row(0, named=True), labels))
        out.print()
        print_frame(scores, title="Label scores (means; 0 above chance: no better than another neuron's label)")
        _questions(opened)


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


def _questions(opened: Atlas) -> None:
    cluster, neuron = opened.sql(TOP_CLUSTER), opened.sql(TOP_NEURON)
    if not cluster.is_empty():
        text = str(cluster["label"][0])
        out.print(Text(f"\nWhich neurons have to do with “{cell(text)}”?", style="bold"))
        print_frame(opened.search(text, 3), columns=["neuron_id", "label", "promotes"])
        out.print(f'neuron-atlas query "{cell(text)}"', style="dim")
    if not neuron.is_empty():
        name, does, trigger = (str(value) for value in neuron.row(0))
        out.print(Text(f"\nWhat is {name}, and what is it wired to?", style="bold"))
        print_facts([("it does", does), ("it fires on", trigger)])
        wires = pl.concat(opened.edges(name, direction, limit=3) for direction in ("upstream", "downstream"))
        print_frame(wires, columns=["direction", "other", "label", "weight_mean", "n_prompts"])
        out.print(f"neuron-atlas neuron {name}", style="dim")
    out.print("\nMore: neuron-atlas --help; make dev opens the Dagster UI.", style="dim")
