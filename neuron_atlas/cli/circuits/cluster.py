"""`neuron-atlas cluster`: the clusters of the whole model, of a file with edge statistics, or of one graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click
import polars as pl

from neuron_atlas.cli.attribution.special_tokens import special_ids
from neuron_atlas.cli.materialize import force_option, run_stage
from neuron_atlas.cli.printing import json_option, limit_option, out, print_facts, print_frame, print_json, progress
from neuron_atlas.core.circuits.clustering.find_modules import FlowModel, Method
from neuron_atlas.core.circuits.clustering.flow_graph import HubControl, SignTreatment, WeightTransform
from neuron_atlas.errors import BadInput
from neuron_atlas.settings import load_settings

if TYPE_CHECKING:
    from neuron_atlas.core.records import Frames

EXAMPLES = """Examples:

\b
  neuron-atlas cluster                                          stage circuits: clusters, their names, clusters by profile
  neuron-atlas cluster --method leiden --force                  the same with Leiden
  neuron-atlas cluster --duckdb .neuron_atlas/neuron_atlas.duckdb --signs excitatory --json > clusters.json
  neuron-atlas cluster --graph graphs/bend.json                 the modules of one graph

Only with --duckdb: --weights, --flow, --hubs, --trials. To keep a method: NEURON_ATLAS_CLUSTER_METHOD, _SIGNS, _SEED.
"""
_FILE_ONLY = ("weights", "flow", "hubs", "trials")


def _choice(values: object) -> click.Choice[str]:
    return click.Choice(get_args(values))


@click.command(epilog=EXAMPLES)
@click.option("--graph", "graph_file", type=click.Path(path_type=Path), help="Cluster this one graph (JSON).")
@click.option(
    "--duckdb", "edges_file", type=click.Path(path_type=Path), help="Cluster the edge statistics of this file."
)
@click.option("--method", type=_choice(Method), help="How clusters are found; infomap unless set otherwise.")
@click.option(
    "--signs",
    type=_choice(SignTreatment),
    help="Which links: both signs merged, one sign, or one network layer per sign.",
)
@click.option("--min-count", type=click.IntRange(min=1), help="Smallest number of prompts in which a link occurs.")
@click.option("--seed", type=click.IntRange(min=0), help="Random seed.")
@click.option("--weights", type=_choice(WeightTransform), help="How links are weighted; abs_weight_sq unless given.")
@click.option(
    "--flow", type=_choice(FlowModel), help="Whether flow follows links both ways or one way; undirected unless given."
)
@click.option("--hubs", type=_choice(HubControl), help="How hubs are treated; keep unless given.")
@click.option(
    "--trials", type=click.IntRange(min=1), help="Number of searches, of which the best is kept; 10 unless given."
)
@limit_option
@force_option
@json_option
@click.pass_context
def cluster(
    ctx: click.Context,
    graph_file: Path | None,
    edges_file: Path | None,
    limit: int,
    force: bool,
    as_json: bool,
    **options: str | int | None,
) -> None:
    """Cluster neurons into circuits and name them (stage circuits); or cluster one file and print the result."""
    given = {name: value for name, value in options.items() if value is not None}
    if graph_file is not None and edges_file is not None:
        raise BadInput("--graph and --duckdb exclude each other; give one of them")
    if graph_file is not None:
        _refuse(given, [name for name in given if name != "seed"], "--graph")
        _graph(graph_file, seed=int(given.get("seed", 0)), limit=limit, as_json=as_json)
    elif edges_file is not None:
        _edges(edges_file, given, limit=limit, as_json=as_json)
    else:
        _refuse(given, _FILE_ONLY, "the stage (only with --duckdb)")
        renamed = {
            "method": "cluster_method",
            "signs": "cluster_signs",
            "seed": "cluster_seed",
            "min_count": "min_edge_count",
        }
        changed = {renamed[name]: value for name, value in given.items()}
        run_stage(["circuits"], force=force, as_json=as_json, settings=load_settings().model_copy(update=changed))


def _refuse(given: dict[str, str | int], names: list[str] | tuple[str, ...], where: str) -> None:
    unused = [f"--{name.replace('_', '-')}" for name in names if name in given]
    if unused:
        raise BadInput(f"{', '.join(unused)} does not apply to {where}; leave it out")


def _edges(path: Path, given: dict[str, str | int], *, limit: int, as_json: bool) -> None:
    with progress.status("reading edges …"):
        from neuron_atlas.adapters.atlas_duckdb import read_edge_statistics
        from neuron_atlas.core.circuits.clustering.clusters import find_clusters

        stats = read_edge_statistics(path)
    with progress.status("clustering, and again with other seeds and redrawn prompts …"):
        names = {"weights": "transform"}
        found = find_clusters(stats, graphs=stats, **{names.get(name, name): value for name, value in given.items()})  # pyright: ignore[reportArgumentType]: Choices
    if as_json:
        print_json(_document(found))
        return
    run = found["cluster_runs"].row(0, named=True)
    clusters = found["clusters"].sort("level", "flow", descending=[False, True])
    members = found["cluster_members"]
    print_facts(
        [
            (
                "made with",
                f"{run['algorithm']}, weights {run['weight_transform']}, signs {run['signs']}, seed {run['seed']}",
            ),
            (
                "flow graph",
                f"{run['n_nodes']:,} neurons, {run['n_links']:,} links seen in {run['min_count']} prompts or more",
            ),
            ("clustered", f"{run['n_clustered']:,} of {members.height:,} neurons"),
            (
                "repeated",
                f"{run['n_reseeds']} times with other seeds, {run['n_bootstraps']} on redrawn {run['bootstrap_unit']}",
            ),
            ("saving", f"{run['saving']:.1%} of {run['one_level_codelength']:.2f} bits a step"),
            ("clusters", f"{clusters.filter(pl.col('level') == 1).height} at the top, {clusters.height} at all levels"),
        ]
    )
    out.print()
    columns = ["path", "size", "flow", "layer_min", "layer_max", "stability_seeds", "stability_prompts", "is_stable"]
    print_frame(clusters.head(limit), columns=columns, title="Largest flow first", empty="no links, no clusters")


def _document(found: Frames) -> dict[str, object]:
    """Run, clusters and every neuron's path; a neuron without one is in no cluster."""
    paths = found["cluster_members"].select(pl.format("L{}/N{}", "layer", "neuron").alias("neuron"), "path", "flow")
    return {"run": found["cluster_runs"].row(0, named=True), "clusters": found["clusters"], "neurons": paths}


def _graph(path: Path, *, seed: int, limit: int, as_json: bool) -> None:
    from neuron_atlas.adapters.graphs.graph_files import read_graph
    from neuron_atlas.core.circuits.analysis.modules.graph_modules import cluster_graph

    graph = read_graph(path)
    found = cluster_graph(graph, special_ids=special_ids(graph.summary.model_revision), seed=seed)
    if as_json:
        print_json(
            {"prompt": graph.prompt.text, "modules": found.count, "saving": found.saving, "members": found.members}
        )
        return
    inside = found.members.drop_nulls("module")
    modules = (
        inside.group_by("module")
        .agg(
            instances=pl.len(),
            layers=pl.format("{}–{}", pl.col("layer").min(), pl.col("layer").max()),
            relevance=pl.col("relevance").sum(),
            tokens=pl.col("token").unique(maintain_order=True).head(6),
            strongest=pl.format("L{}/N{}", "layer", "neuron")
            .sort_by(pl.col("relevance").abs(), descending=True)
            .head(4),
        )
        .sort("module")
    )
    print_facts(
        [
            ("prompt", graph.prompt.text),
            ("modules", f"{found.count}, with {inside.height} of {found.members.height} neuron instances"),
        ]
    )
    out.print()
    print_frame(modules.head(limit), title="Early layers first (relevance in logits)", empty="no modules")
