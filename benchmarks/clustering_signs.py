"""What it buys to keep excitation and inhibition apart: on planted rivals, and on an atlas.

    python benchmarks/clustering_signs.py                                              planted rivals alone, seconds
    python benchmarks/clustering_signs.py --atlas .neuron_atlas/neuron_atlas.duckdb    and an atlas, some minutes

Planted: 100 modules of 20 neurons in 6 layers, in 50 pairs of rivals. Each neuron excites five of its own module in later layers
with weight 1, and inhibits five of its rival with a given weight. Agreement is adjusted mutual information with the 100 modules.
On the atlas: the same numbers that its own clusters have, and which share of either sign's link weight stays inside top modules.
Results go to benchmarks/results/clustering_signs.md.
"""

from __future__ import annotations

import argparse
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl

from neuron_atlas.adapters.atlas_duckdb import read_edge_statistics
from neuron_atlas.core.circuits.clustering.clusters import find_clusters
from neuron_atlas.core.circuits.clustering.find_modules import find_modules
from neuron_atlas.core.circuits.clustering.flow_graph import SignTreatment, flow_graph, neuron_edges
from neuron_atlas.core.circuits.clustering.mutual_information import adjusted_mutual_information

LAYERS, PAIRS, SIZE, WIRES = 6, 50, 20, 5
STRENGTHS = (0.0, 0.5, 1.0, 1.5)
RESULTS = Path(__file__).parent / "results" / "clustering_signs.md"


def rivals(strength: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Edges of planted rivals, as `neuron_edges` has them, and the module of every neuron (layer, neuron, module)."""
    rng = np.random.default_rng(0)
    count = 2 * PAIRS * SIZE
    module, layer = np.arange(count) // SIZE, rng.integers(0, LAYERS, count)
    ends: dict[tuple[int, int], float] = {}
    for one in range(count):
        for other, weight in ((module[one], 1.0), (module[one] ^ 1, -strength)):
            later = np.flatnonzero((module == other) & (layer > layer[one]))
            if weight and len(later):
                for target in rng.choice(later, min(WIRES, len(later)), replace=False):
                    ends[one, int(target)] = weight
    pairs = np.array(list(ends))
    weights = np.array(list(ends.values()))
    frame = pl.DataFrame(
        {
            "source_layer": layer[pairs[:, 0]], "source": pairs[:, 0],
            "target_layer": layer[pairs[:, 1]], "target": pairs[:, 1],
            "n": 10.0, "n_prompts": 10.0, "weight_mean": weights, "weight_abs_mean": np.abs(weights),
            "weight_std": 0.0, "flow_mean": weights, "flow_abs_mean": np.abs(weights),
        },
        schema_overrides={"source_layer": pl.Int16, "source": pl.Int32, "target_layer": pl.Int16, "target": pl.Int32},
    )  # fmt: skip
    truth = pl.DataFrame({"layer": layer, "neuron": np.arange(count), "module": module})
    return frame, truth.cast({"layer": pl.Int16, "neuron": pl.Int32})


def planted_line(signs: SignTreatment) -> str:
    cells: list[str] = []
    for strength in STRENGTHS:
        edges, truth = rivals(strength)
        found = find_modules(flow_graph(edges, signs=signs, transform="abs_weight"), seed=0, trials=3).members
        both = truth.join(found, on=["layer", "neuron"]).with_columns(top=pl.col("path").list.first().fill_null(-1))
        if not both.height:
            cells.append("–")
            continue
        ami = adjusted_mutual_information(both["top"].to_numpy().astype(np.int64), both["module"].to_numpy())
        cells.append(f"{ami:.3f}")
    return f"| {signs} | {' | '.join(cells)} |"


def atlas_line(path: Path, signs: SignTreatment) -> str:
    stats = read_edge_statistics(path)
    begin = time.process_time()
    found = find_clusters(stats, graphs=stats, signs=signs)
    seconds = time.process_time() - begin
    run = found["cluster_runs"].row(0, named=True)
    top = found["clusters"].filter(pl.col("level") == 1)
    flow = pl.col("flow") / pl.col("flow").sum()
    weighted = top.select((flow * pl.col("stability")).sum()).item()
    shares = [f"{share:.0%}" for share in inside(neuron_edges(stats), found["cluster_members"])]
    return (
        f"| {signs} | {top.height} | {top['size'].max()} | {run['n_clustered']:,} of {found['cluster_members'].height:,} "
        f"| {run['saving']:.1%} | {top['stability_seeds'].mean():.2f} | {top['stability_prompts'].mean():.2f} | {weighted:.2f} "
        f"| {' | '.join(shares)} | {seconds:.0f} |"
    )


def inside(edges: pl.DataFrame, members: pl.DataFrame) -> list[float]:
    """Share of exciting and of inhibiting link weight (squared, as clusters have it) that stays inside top modules."""
    tops = members.select("layer", "neuron", "top")
    both = (
        edges.filter(pl.col("n_prompts") >= 2)
        .join(tops, left_on=["source_layer", "source"], right_on=["layer", "neuron"])
        .join(tops, left_on=["target_layer", "target"], right_on=["layer", "neuron"], suffix="_target")
    )
    stays = (pl.col("top") == pl.col("top_target")).fill_null(False)
    parts = [((pl.col("weight_abs_mean") + sign * pl.col("weight_mean")) / 2) ** 2 for sign in (1, -1)]
    return [both.select((part * stays).sum() / part.sum()).item() for part in parts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atlas", type=Path)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    planted = [planted_line(signs) for signs in get_args(SignTreatment)]
    print("\n".join(planted), flush=True)
    text = planted_text(planted)
    if options.atlas is not None:
        text += atlas_text([atlas_line(options.atlas, signs) for signs in get_args(SignTreatment)])
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(text)


def planted_text(lines: list[str]) -> str:
    return f"""# Clustering: excitation and inhibition together or apart

Command: `python benchmarks/clustering_signs.py` (infomap {version("infomap")}, Python {platform.python_version()})

## Planted rivals: AMI with the modules

{2 * PAIRS} modules of {SIZE} neurons that excite each other (weight 1); in pairs, each inhibits its rival with the weight in the
column's head. `inhibitory` sees rivals only, so what it finds are pairs, not modules.

| signs | {" | ".join(f"{strength:g}" for strength in STRENGTHS)} |
|---|{"---|" * len(STRENGTHS)}
{chr(10).join(lines)}
"""


def atlas_text(lines: list[str]) -> str:
    return f"""
## An atlas (`--atlas`)

Stability is the mean over top modules, over other seeds and over redrawn prompts, and the lower of both weighted by flow.
"+ inside" and
"- inside" are the shares of exciting and inhibiting link weight that stay inside top modules. Seconds are of one core (CPU clock).

| signs | top modules | largest | neurons clustered | saving | seeds | prompts | by flow | + inside | - inside | seconds |
|---|---|---|---|---|---|---|---|---|---|---|
{chr(10).join(lines)}
"""


if __name__ == "__main__":
    main()
