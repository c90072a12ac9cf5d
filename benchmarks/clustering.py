"""How well and how fast modules are found, on layered graphs whose modules are known.

    python benchmarks/clustering.py                      everything (10 to 15 minutes of one core)
    python benchmarks/clustering.py --only planted small   a few seconds: 10,000 nodes, no Louvain

Neurons get a layer (of six) and a module at random; links run from earlier to later layers, a given share inside modules, with
exponentially distributed weights. Agreement is adjusted mutual information (AMI; 0 is chance, 1 is the planted partition).
Times are of one core (CPU clock), so that a busy machine does not matter. Louvain is networkx's, in Python: its agreement
compares, its time does not. Results go to benchmarks/results/clustering.md, line by line as they are known.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
import polars as pl
from infomap import Network
from numpy.typing import NDArray

from neuron_atlas.core.circuits.clustering.find_modules import find_modules
from neuron_atlas.core.circuits.clustering.flow_graph import FlowGraph
from neuron_atlas.core.circuits.clustering.mutual_information import adjusted_mutual_information
from neuron_atlas.core.circuits.clustering.stability import best_overlaps, memberships, stability

LAYERS = 6
RESULTS = Path(__file__).parent / "results" / "clustering.md"
SIZES = {
    "small": {"nodes": 10_000, "links": 100_000, "modules": 200},
    "middle": {"nodes": 100_000, "links": 1_000_000, "modules": 2_000},
    "large": {"nodes": 458_752, "links": 5_000_000, "modules": 9_000},
}
"""`large` has as many neurons as Llama-3.1-8B (32 layers of 14,336)."""

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Planted:
    """A flow graph and the module of each node."""

    graph: FlowGraph
    truth: Labels


def planted(*, nodes: int, links: int, modules: int, internal: float, seed: int) -> Planted:
    """A layered graph with `internal` of its links inside the planted modules."""
    rng = np.random.default_rng(seed)
    layer = np.sort(rng.integers(0, LAYERS, nodes))
    module = rng.integers(0, modules, nodes)
    by_module = np.argsort(module, kind="stable")
    start = np.searchsorted(module[by_module], np.arange(modules + 1))
    pairs: list[NDArray[np.int64]] = []
    missing = {True: round(links * internal), False: links - round(links * internal)}
    for inside, count in missing.items():
        found = np.empty((0, 2), np.int64)
        while len(found) < count:
            source = rng.integers(0, nodes, 4 * count)
            if inside:
                first, last = start[module[source]], start[module[source] + 1]
                target = by_module[first + (rng.random(4 * count) * (last - first)).astype(np.int64)]
            else:
                target = rng.integers(0, nodes, 4 * count)
            fits = (layer[source] < layer[target]) & ((module[source] == module[target]) == inside)
            found = np.unique(np.concatenate([found, np.column_stack([source, target])[fits]]), axis=0)
        pairs.append(found[rng.permutation(len(found))[:count]])
    ends = np.concatenate(pairs)
    frame = pl.DataFrame({"source": ends[:, 0], "target": ends[:, 1], "weight": rng.exponential(1.0, len(ends))})
    numbers = np.arange(nodes) - np.searchsorted(layer, layer)
    neurons = pl.DataFrame({"layer": layer, "neuron": numbers}, schema={"layer": pl.Int16, "neuron": pl.Int32})
    return Planted(FlowGraph(neurons, frame.sort("source", "target")), module)


def clustered(graph: FlowGraph, **how: str) -> tuple[Labels, Labels, float, float]:
    """Top and finest module of each node (its own number where it has none), saving, share of nodes without flow."""
    found = find_modules(graph, seed=0, trials=1, **how)  # pyright: ignore[reportArgumentType]: names of methods and flows
    own = -1 - np.arange(graph.neurons.height)
    top = found.members["path"].list.first().fill_null(-1).to_numpy().astype(np.int64)
    finest = found.members["path"].cast(pl.List(pl.String)).list.join(".").rank("dense").to_numpy().astype(np.int64)
    silent = float((found.members["flow"] < 1e-12).mean() or 0.0)
    return np.where(top == -1, own, top), np.where(top == -1, own, finest), found.saving, silent


def louvain(graph: FlowGraph) -> Labels:
    """The groups of networkx's Louvain, seed 0."""
    import networkx as nx

    whole = nx.Graph()
    whole.add_weighted_edges_from(graph.links.iter_rows())
    labels = np.full(graph.neurons.height, -1)
    for number, group in enumerate(nx.community.louvain_communities(whole, seed=0)):
        labels[list(group)] = number
    return labels


def timed(work: Callable[[], object]) -> tuple[object, float]:
    """What the work returns, and its CPU seconds."""
    begin = time.process_time()
    made = work()
    return made, time.process_time() - begin


@dataclass
class Report:
    """The results so far; every line is written as soon as it is known."""

    command: str
    output: Path
    size: dict[str, int]
    quality: list[str] = field(default_factory=list)
    loading: list[str] = field(default_factory=list)
    stability: list[str] = field(default_factory=list)

    def add(self, part: list[str], line: str) -> None:
        part.append(line)
        print(line, flush=True)
        self.output.parent.mkdir(parents=True, exist_ok=True)
        self.output.write_text(self.text())

    def text(self) -> str:
        versions = ", ".join(f"{name} {version(name)}" for name in ("infomap", "graspologic-native", "networkx"))
        return f"""# Clustering: planted modules

Command: `{self.command}`
({versions}, Python {platform.python_version()}, CPU seconds of one core of a shared {platform.machine()} machine.)

## What is found

{self.size["nodes"]:,} nodes in {LAYERS} layers, {self.size["links"]:,} links from earlier to later layers, \
{self.size["modules"]:,} planted modules,
one search each. AMI is adjusted mutual information with the planted partition: 0 is chance, 1 is all of it. The saving is by the
map equation, for every method. networkx's Louvain is written in Python, so its seconds say nothing about the method.

| links inside modules | method | top modules | AMI, top | AMI, finest | saving over one level | nodes without flow | seconds |
|---|---|---|---|---|---|---|---|
{chr(10).join(self.quality)}

## Loading against searching

Links handed to Infomap in one array, as `find_modules` does, against one by one; then the whole search with its loading and the
naming of modules. 90 % of the links are inside modules.

| nodes | links | one array, s | one by one, s | ratio | whole search, s | share of loading |
|---|---|---|---|---|---|---|
{chr(10).join(self.loading)}

## Stability

{chr(10).join(self.stability)}
"""


def measure_loading(report: Report, size: dict[str, int]) -> None:
    graph = planted(**size, internal=0.9, seed=0).graph
    _, bulk = timed(lambda: Network().add_links(graph.links.select(pl.all().cast(pl.Float64)).to_numpy()))

    def singly() -> None:
        network = Network()
        for source, target, weight in graph.links.iter_rows():
            network.add_link(source, target, weight)

    _, single = timed(singly)
    _, whole = timed(lambda: find_modules(graph, seed=0, trials=1))
    report.add(
        report.loading,
        f"| {size['nodes']:,} | {size['links']:,} | {bulk:.2f} | {single:.2f} | {single / bulk:.1f} | {whole:.1f} "
        f"| {bulk / whole:.1%} |",
    )


def measure_quality(report: Report, size: dict[str, int], internal: float, method: str) -> None:
    one = planted(**size, internal=internal, seed=0)
    name = {"infomap": "Infomap", "directed": "Infomap, directed", "leiden": "Leiden", "louvain": "Louvain"}[method]
    if method == "louvain":
        labels, seconds = timed(lambda: louvain(one.graph))
        ami = adjusted_mutual_information(labels, one.truth)
        line = (
            f"| {internal:.0%} | {name} | {len(np.unique(labels)):,} | {ami:.3f} | {ami:.3f} | – | – | {seconds:.0f} |"
        )
    else:
        how = {"flow": "directed"} if method == "directed" else {"method": method}
        (top, finest, saving, silent), seconds = timed(lambda: clustered(one.graph, **how))
        amis = [adjusted_mutual_information(found, one.truth) for found in (top, finest)]
        line = (
            f"| {internal:.0%} | {name} | {len(np.unique(top)):,} | {amis[0]:.3f} | {amis[1]:.3f} "
            f"| {saving:.1%} | {silent:.1%} | {seconds:.1f} |"
        )
    report.add(report.quality, line)


def measure_stability(report: Report, size: dict[str, int]) -> None:
    graph = planted(**size, internal=0.9, seed=0).graph
    one, two = (memberships(find_modules(graph, seed=seed, trials=1).members) for seed in (0, 1))
    found, seconds = timed(lambda: stability(one, [best_overlaps(one, two)]))
    mean = found["stability"].mean()
    report.add(
        report.stability,
        f"Comparing two runs: {seconds:.2f} s; mean best Jaccard of a module in a reseeded run: {mean:.3f}.",
    )


PARTS = ("loading", "planted", "stability")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[*PARTS, "small"], default=list(PARTS))
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    is_small = "small" in options.only
    command = "python benchmarks/clustering.py" + (
        "" if options.only == list(PARTS) else f" --only {' '.join(options.only)}"
    )
    size = SIZES["small" if is_small else "middle"]
    report = Report(command, options.output, size)
    if "planted" in options.only:
        for method in ("infomap", "leiden", *(() if is_small else ("louvain",))):
            measure_quality(report, size, 0.9, method)
    if "loading" in options.only:
        for one in (size, *(() if is_small else (SIZES["large"],))):
            measure_loading(report, one)
    if "stability" in options.only:
        measure_stability(report, size)
    if "planted" in options.only:
        for internal in (0.7, 0.5):
            for method in ("infomap", "leiden"):
                measure_quality(report, size, internal, method)
        for internal in (0.9, 0.7, 0.5):
            measure_quality(report, size, internal, "directed")


if __name__ == "__main__":
    main()
