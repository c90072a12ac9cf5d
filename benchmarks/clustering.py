"""How well and how fast modules are found, on layered graphs whose modules are known.

    python benchmarks/clustering.py                 100,000 nodes, 1,000,000 links, 2,000 modules (a minute or two)
    python benchmarks/clustering.py --nodes 10000 --links 100000 --modules 200

Neurons get a layer (of six) and a module at random; links run from earlier to later layers, a given share inside modules, with
exponentially distributed weights. Agreement is adjusted mutual information (AMI; 0 is chance, 1 is the planted partition).
Results go to benchmarks/results/clustering.md.
"""

from __future__ import annotations

import argparse
import platform
import resource
import time
from dataclasses import dataclass
from math import lgamma, log
from pathlib import Path

import numpy as np
import polars as pl
from infomap import Network, __version__
from numpy.typing import NDArray

from neuron_atlas.core.circuits.flow_graph import FlowGraph
from neuron_atlas.core.circuits.modules import FlowModel, find_modules
from neuron_atlas.core.circuits.stability import memberships, stability

LAYERS = 6
RESULTS = Path(__file__).parent / "results" / "clustering.md"

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


def adjusted_mutual_information(one: Labels, two: Labels) -> float:
    """AMI of two labelings, normalised by the mean entropy (Vinh, Epps & Bailey 2010).

    The expected mutual information is summed over pairs of distinct cluster sizes, with log factorials from a table.
    """
    n = len(one)
    _, a = np.unique(one, return_inverse=True)
    _, b = np.unique(two, return_inverse=True)
    sizes_a, sizes_b = np.bincount(a), np.bincount(b)
    _, both = np.unique(a.astype(np.int64) * len(sizes_b) + b, return_counts=True)
    cells = np.unique(a.astype(np.int64) * len(sizes_b) + b)
    expected_sizes = sizes_a[cells // len(sizes_b)] * sizes_b[cells % len(sizes_b)]
    mutual = float((both / n * np.log(both * n / expected_sizes)).sum())
    entropy = [float(-(s / n * np.log(s / n)).sum()) for s in (sizes_a, sizes_b)]
    expected = _expected_mutual_information(sizes_a, sizes_b, n)
    mean = sum(entropy) / 2
    return (mutual - expected) / (mean - expected) if mean > expected else 1.0


def _expected_mutual_information(sizes_a: Labels, sizes_b: Labels, n: int) -> float:
    log_factorial = np.array([lgamma(k + 1) for k in range(n + 1)])
    total = 0.0
    distinct_a, count_a = np.unique(sizes_a, return_counts=True)
    distinct_b, count_b = np.unique(sizes_b, return_counts=True)
    for x, times_x in zip(distinct_a, count_a, strict=True):
        for y, times_y in zip(distinct_b, count_b, strict=True):
            k = np.arange(max(1, x + y - n), min(x, y) + 1)
            if not len(k):
                continue
            f = log_factorial
            chance = np.exp(f[x] + f[y] + f[n - x] + f[n - y] - f[n] - f[k] - f[x - k] - f[y - k] - f[n - x - y + k])
            total += times_x * times_y * float((k / n * (np.log(k) + log(n) - log(x) - log(y)) * chance).sum())
    return total


def top_modules(graph: FlowGraph, flow: FlowModel, *, trials: int) -> tuple[Labels, Labels, float, float, float]:
    """Top and finest module of each node (its own number where it has none), saving, share without flow, seconds."""
    begin = time.perf_counter()
    found = find_modules(graph, seed=0, trials=trials, flow=flow)
    seconds = time.perf_counter() - begin
    own = -1 - np.arange(graph.neurons.height)
    top = found.members["path"].list.first().fill_null(-1).to_numpy().astype(np.int64)
    finest = found.members["path"].cast(pl.List(pl.String)).list.join(".").rank("dense").to_numpy().astype(np.int64)
    alone = top == -1
    silent = float((found.members["flow"] < 1e-12).mean() or 0.0)
    return np.where(alone, own, top), np.where(alone, own, finest), found.saving, silent, seconds


def loading(graph: FlowGraph) -> tuple[float, float]:
    """Seconds to hand the links over in one array, and one by one."""
    begin = time.perf_counter()
    Network().add_links(np.column_stack([graph.links[c].to_numpy().astype(np.float64) for c in graph.links.columns]))
    bulk = time.perf_counter() - begin
    begin = time.perf_counter()
    network = Network()
    for source, target, weight in graph.links.iter_rows():
        network.add_link(source, target, weight)
    return bulk, time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=100_000)
    parser.add_argument("--links", type=int, default=1_000_000)
    parser.add_argument("--modules", type=int, default=2_000)
    parser.add_argument("--trials", type=int, default=1)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    sizes = {"nodes": options.nodes, "links": options.links, "modules": options.modules}
    rows: list[str] = []
    for internal in (0.9, 0.7, 0.5):
        one = planted(**sizes, internal=internal, seed=0)
        for flow in ("undirected", "directed"):
            top, finest, saving, silent, seconds = top_modules(one.graph, flow, trials=options.trials)
            agreement = [adjusted_mutual_information(found, one.truth) for found in (top, finest)]
            rows.append(
                f"| {internal:.0%} | {flow} | {len(np.unique(top)):,} | {agreement[0]:.3f} | {agreement[1]:.3f} "
                f"| {saving:.1%} | {silent:.1%} | {seconds:.1f} |"
            )
            print(rows[-1], flush=True)
    one = planted(**sizes, internal=0.9, seed=0)
    bulk, singly = loading(one.graph)
    runs = [memberships(find_modules(one.graph, seed=s, trials=1).members) for s in (0, 1)]
    begin = time.perf_counter()
    overlap = stability(runs[0], runs[1:])
    comparing = time.perf_counter() - begin
    jaccard = overlap.select(pl.col("stability").mean()).item()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(
        f"""# Clustering: planted modules

Command: `python benchmarks/clustering.py --nodes {options.nodes} --links {options.links} --modules {options.modules} \
--trials {options.trials}`
(Infomap {__version__}, Python {platform.python_version()}, one core of a shared {platform.machine()} machine.)

{options.nodes:,} nodes in {LAYERS} layers, {options.links:,} links from earlier to later layers, {options.modules:,} planted
modules. AMI is adjusted mutual information with the planted partition: 0 is chance, 1 is all of it.

| links inside modules | flow | top modules | AMI, top | AMI, finest | saving over one level | nodes without flow | seconds |
|---|---|---|---|---|---|---|---|
{chr(10).join(rows)}

- Handing over the links: {bulk:.2f} s in one array, {singly:.2f} s link by link ({singly / bulk:.0f} times as long).
- Comparing two runs for stability: {comparing:.2f} s; mean best Jaccard of a module in a reseeded run: {jaccard:.3f}.
- Peak memory of the whole benchmark: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB.
"""
    )
    print(options.output.read_text())


if __name__ == "__main__":
    main()
