"""`neuron-atlas aggregate`: the stage of that name, or the statistics of a folder of graph files."""

from __future__ import annotations

import shutil
from pathlib import Path

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from neuron_atlas.cli.layer_option import layer_option
from neuron_atlas.cli.materialize import chosen_partitions, force_option, partition_option, run_stage
from neuron_atlas.cli.printing import json_option, out, print_facts, print_json, progress
from neuron_atlas.core.layer_ranges import LayerRanges
from neuron_atlas.errors import BadInput

SHOWN = 5
"""Skipped files whose reasons are printed; `--json` and table `graphs` have all."""

EXAMPLES = """Examples:

\b
  neuron-atlas aggregate                                   the stage, over the atlas' own graphs
  neuron-atlas aggregate graphs/ --resume                  graph files: Neuronpedia's form or the older one
  neuron-atlas cluster --duckdb graphs/edge_stats.duckdb   what comes next
  neuron-atlas query graphs/edge_stats.duckdb --sql "FROM neuron_profiles ORDER BY n_prompts DESC"

In Python: neuron_atlas.open_atlas("graphs/edge_stats.duckdb").neuron("L3/N17").
"""


@click.command(epilog=EXAMPLES)
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@partition_option
@layer_option
@force_option
@click.option(
    "--export-duckdb", "-o", "output", type=click.Path(path_type=Path), help="File to write [FOLDER/edge_stats.duckdb]."
)
@click.option(
    "--checkpoint-dir",
    "work",
    type=click.Path(path_type=Path),
    help="Folder for finished batches [FOLDER/checkpoints].",
)
@click.option(
    "--batch-size",
    "--checkpoint-interval",
    type=click.IntRange(1, 100_000),
    default=100,
    show_default=True,
    help="Most files per batch; an interrupted run loses at most one batch.",
)
@click.option("--max-graphs", type=click.IntRange(1), help="Read only so many files, the first by name.")
@click.option("--resume", is_flag=True, help="Continue from finished batches (the default).")
@click.option("--fresh", is_flag=True, help="Delete finished batches and start again.")
@json_option
def aggregate(
    folder: Path | None,
    partition: str | None,
    layers: LayerRanges | None,
    force: bool,
    output: Path | None,
    work: Path | None,
    batch_size: int,
    max_graphs: int | None,
    resume: bool,
    fresh: bool,
    as_json: bool,
) -> None:
    """Statistics over all graphs, activations and weights (stage aggregation); or, with FOLDER, over the graph files in it.

    A file that is not a graph is skipped and the reason is reported; the exit code is 0 even then, and 2 when no file is a graph.
    """
    if folder is None:
        if output or work or max_graphs or resume or fresh:
            raise BadInput(
                "--export-duckdb, --checkpoint-dir, --max-graphs, --resume and --fresh need a FOLDER: neuron-atlas aggregate FOLDER"
            )
        run_stage(["aggregation"], partition=chosen_partitions(partition, layers), force=force, as_json=as_json)
        return
    if partition or layers or force or (resume and fresh):
        raise BadInput(
            "--partition, --layer and --force do not go with a FOLDER, nor --resume with --fresh; leave them out"
        )
    work = work or folder / "checkpoints"
    if fresh:
        for asset in ("graph_stats", "raw_graphs"):
            shutil.rmtree(work / asset, ignore_errors=True)
    _folder(folder, work, output or folder / "edge_stats.duckdb", batch_size, max_graphs, as_json)


def _folder(folder: Path, work: Path, output: Path, batch_size: int, max_graphs: int | None, as_json: bool) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=progress, transient=True) as bar:
        task = bar.add_task("graph files", total=None)
        from neuron_atlas.adapters.atlas_duckdb import build_atlas
        from neuron_atlas.adapters.graphs.folder_statistics import aggregate_folder

        sums = aggregate_folder(
            folder,
            work,
            batch_size=batch_size,
            max_graphs=max_graphs,
            progress=lambda done, of: bar.update(
                task, completed=done, total=of, description="adding up" if done == of else "graph files"
            ),
        )
        bar.update(task, description=f"writing {output.name}")
        frames = {name: frame.lazy() for name, frame in sums.frames.items()}
        report = build_atlas(output, frames, facts={"model_id": sums.model_id, "source": folder.name})
    found = {
        "output": str(report.path),
        "model": sums.model_id or None,
        "graphs": sums.frames["graphs"]["reason"].null_count(),
        "resumed": sums.n_resumed,
        "neurons": report.rows["neurons"],
        "edges": report.rows["edge_stats"],
    }
    if as_json:
        print_json({**found, "set_aside": [{"file": file, "reason": reason} for file, reason in sums.quarantined]})
        return
    for file, reason in sums.quarantined[:SHOWN]:
        progress.print(f"set aside {file}: {reason}", style="yellow", markup=False)
    print_facts([*found.items(), ("set aside", f"{len(sums.quarantined)} files (table graphs says why)")])
    out.print(f"next: neuron-atlas cluster --duckdb {report.path}", style="dim", markup=False, soft_wrap=True)
