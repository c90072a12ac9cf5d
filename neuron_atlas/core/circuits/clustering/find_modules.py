"""Modules of a flow graph, as the rest of the product uses them.

Two things differ from what the searches of `community_detection.py` return. A module path names modules only, never a neuron's rank
inside one. And a module of a single neuron is not kept: the neuron belongs to the smallest enclosing module with other neurons, or
to none. The modules that are left are renumbered, largest flow first, so numbers have no gaps.

`saving` says how much shorter the description of a random walk is with the modules than without any.

`undirected` flow is the default: the walker takes a link either way in proportion to its weight, so a neuron's flow is its share
of all link weight. Along the links' direction (`directed`) a layered graph drains: the walker visits no neuron without
incoming links (17 % of a planted six-layer graph) and finds planted modules less well the more links cross between them: with
half of the links inside modules, an adjusted mutual information of 0.68 against 0.89 (benchmarks/results/clustering.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import polars as pl

from neuron_atlas.core.circuits.clustering.community_detection import FlowModel, Partition, Path, infomap, leiden
from neuron_atlas.core.circuits.clustering.flow_graph import FlowGraph
from neuron_atlas.errors import BadInput

Method: TypeAlias = Literal["infomap", "leiden"]


@dataclass(frozen=True)
class Modules:
    """One partition of a flow graph.

    `members`: columns layer, neuron, path (List of Int32 from the top module down; empty when unclustered), flow (share of all
    flow), in node order. `codelength` and `one_level_codelength` in bits.
    """

    members: pl.DataFrame
    codelength: float
    one_level_codelength: float

    @property
    def saving(self) -> float:
        """1 - codelength / one_level_codelength; 0 without links."""
        return 1 - self.codelength / self.one_level_codelength if self.one_level_codelength > 0 else 0.0


def find_modules(
    graph: FlowGraph,
    *,
    seed: int,
    trials: int,
    method: Method = "infomap",
    flow: FlowModel = "undirected",
    resolution: float = 1.0,
) -> Modules:
    """Partition a flow graph with the best of `trials` seeded runs; the same graph and seed give the same modules.

    `resolution` is Leiden's (above 1: more and smaller modules). Raises `BadInput` on an unknown method or flow model, and for
    Leiden with directed flow, layers of signs, or a resolution that is not above zero.
    """
    if method not in get_args(Method):
        raise BadInput(f"unknown method {method!r}; expected one of {', '.join(get_args(Method))}")
    if flow not in get_args(FlowModel):
        raise BadInput(f"unknown flow model {flow!r}; expected one of {', '.join(get_args(FlowModel))}")
    if method == "leiden" and flow != "undirected":
        raise BadInput(f"leiden follows links either way; got flow {flow!r}, expected 'undirected' (or method infomap)")
    if not resolution > 0:
        raise BadInput(f"resolution is {resolution}; expected a number above 0 (1 is plain modularity)")
    if graph.n_links == 0:
        return _named(graph, Partition([()] * graph.neurons.height, np.zeros(graph.neurons.height), 0.0, 0.0))
    if method == "leiden":
        return _named(graph, leiden(graph, seed=seed, trials=trials, resolution=resolution))
    return _named(graph, infomap(graph, seed=seed, trials=trials, flow=flow))


def prefixes(path: Path) -> Iterator[Path]:
    """The path's modules from the top down: (3, 1) gives (3,), (3, 1)."""
    return (path[:depth] for depth in range(1, len(path) + 1))


def _without_single_neurons(leaves: dict[int, Path], flows: np.ndarray) -> dict[int, Path]:
    """Cut each path where it would hold one neuron only, and number modules by flow among their siblings, from 1."""
    sizes: dict[Path, int] = {}
    flow: dict[Path, float] = {}
    first: dict[Path, int] = {}
    for node, path in leaves.items():
        for module in prefixes(path):
            sizes[module] = sizes.get(module, 0) + 1
            flow[module] = flow.get(module, 0.0) + float(flows[node])
            first[module] = min(first.get(module, node), node)
    kept = sorted((m for m, size in sizes.items() if size > 1), key=lambda m: (len(m), -round(flow[m], 12), first[m]))
    renamed: dict[Path, Path] = {(): ()}
    children: dict[Path, int] = {}
    for module in kept:
        parent = renamed[module[:-1]]
        children[parent] = children.get(parent, 0) + 1
        renamed[module] = (*parent, children[parent])
    return {node: _deepest(path, renamed) for node, path in leaves.items()}


def _deepest(path: Path, renamed: dict[Path, Path]) -> Path:
    """The new name of the deepest module of a path that was kept."""
    while path not in renamed:
        path = path[:-1]
    return renamed[path]


def _named(graph: FlowGraph, found: Partition) -> Modules:
    paths = _without_single_neurons(dict(enumerate(found.paths)), found.flows)
    members = graph.neurons.with_columns(
        path=pl.Series("path", [list(paths[n]) for n in range(graph.neurons.height)], dtype=pl.List(pl.Int32)),
        flow=pl.Series("flow", found.flows, dtype=pl.Float64),
    )
    return Modules(members, found.codelength, found.one_level_codelength)
