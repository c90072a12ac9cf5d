"""Two algorithms that find modules, with one form of result: Infomap (the default) and Leiden.

**Infomap** describes a random walker's path with one codebook for modules and one per module, and looks for the partition with
the shortest description (bits per step, `codelength`; Rosvall & Bergstrom 2008, arXiv:0707.0609; Edler et al. 2017 for the
hierarchy). Where signs are kept apart the network has two layers that share their neurons: the walker follows exciting links or
inhibiting ones, and changes the layer at every seventh step or so (`RELAX_RATE`).

**Leiden** looks for groups with more link weight inside than their members' total weights would give by chance (modularity;
Traag, Waltman & van Eck 2019, arXiv:1810.08473). Its groups are connected and form one level. Modularity cannot see groups much
smaller than the square root of the links: on planted modules it merges what Infomap keeps apart
(benchmarks/results/clustering.md). Its partition is measured with the map equation too, so that codelengths compare.

The library is graspologic-native (MIT); leidenalg and igraph, the better known ones, are GPL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neuron_atlas.core.circuits.clustering.flow_graph import FlowGraph
from neuron_atlas.errors import BadInput

FlowModel: TypeAlias = Literal["undirected", "directed"]
Path: TypeAlias = tuple[int, ...]
_Floats: TypeAlias = NDArray[np.float64]
_Ints: TypeAlias = NDArray[np.int64]

RELAX_RATE = 0.15
"""How often the walker changes the layer, Infomap's own default."""

_BILLIONS = 2**31 - 1


@dataclass(frozen=True)
class Partition:
    """What a search returns: the module path of every node (numbers as the search gave them), every node's share of flow, and
    bits per step with and without modules."""

    paths: list[Path]
    flows: _Floats
    codelength: float
    one_level_codelength: float


def infomap(graph: FlowGraph, *, seed: int, trials: int, flow: FlowModel) -> Partition:
    """The best of `trials` seeded runs of Infomap. A neuron of two layers belongs where most of its flow is."""
    from infomap import Network, Options

    network = Network()
    # One call with an array: several times as fast as link by link (benchmarks/results/clustering.md).
    if graph.inhibitory.is_empty():
        network.add_links(_as_array(graph.links))
    else:
        for layer, links in ((1, graph.links), (2, graph.inhibitory)):
            ends = _as_array(links)
            network.add_multilayer_intra_links(np.column_stack([np.full(len(ends), float(layer)), ends]))
    options = Options(seed=1 + seed % _BILLIONS, num_trials=trials, flow_model=flow, multilayer_relax_rate=RELAX_RATE)
    result = network.run(options=options)
    flows = np.zeros(graph.neurons.height)
    most = np.full(graph.neurons.height, -1.0)
    paths: list[Path] = [()] * graph.neurons.height
    for leaf in result.nodes(states=True):
        flows[leaf.node_id] += leaf.flow
        if leaf.flow > most[leaf.node_id]:
            most[leaf.node_id], paths[leaf.node_id] = leaf.flow, leaf.path[:-1]  # the last number is a rank, no module
    return Partition(paths, flows, result.codelength, result.one_level_codelength)


def leiden(graph: FlowGraph, *, seed: int, trials: int, resolution: float) -> Partition:
    """The best of `trials` seeded runs of Leiden on modularity; a higher `resolution` (1 is plain modularity) gives more groups.

    Raises `BadInput` for a graph whose signs are in layers.
    """
    from graspologic_native import leiden_csr

    if not graph.inhibitory.is_empty():
        raise BadInput(
            "method leiden does not support signs 'layers'; expected signs merged, excitatory or inhibitory, or method infomap"
        )
    n = graph.neurons.height
    source, target, weight = (graph.links[c].to_numpy() for c in ("source", "target", "weight"))
    pointers, indices, weights = _adjacency(source, target, weight.astype(np.float64), n)
    _, found = leiden_csr(
        pointers, indices, weights, n, resolution=resolution, iterations=2, seed=seed % _BILLIONS, trials=trials
    )
    groups = np.array([found[node] for node in range(n)], np.int64)
    flows, codelength, one_level = map_equation(source, target, weight, groups)
    return Partition([(int(group) + 1,) for group in groups], flows, codelength, one_level)


def map_equation(source: _Ints, target: _Ints, weight: _Floats, groups: _Ints) -> tuple[_Floats, float, float]:
    """Undirected flow of every node, and the bits per step of a two-level partition and of none.

    With p the flow of a node, q the flow that leaves a group and f(x) = x log2 x, the partition costs
    f(sum q) - 2 sum f(q) - sum f(p) + sum f(q + p of the group), none costs - sum f(p).
    """
    total = 2 * float(weight.sum())
    flows = (np.bincount(source, weight, len(groups)) + np.bincount(target, weight, len(groups))) / total
    crossing = groups[source] != groups[target]
    n_groups = int(groups.max()) + 1
    leaving = np.zeros(n_groups)
    for end in (source, target):
        leaving += np.bincount(groups[end][crossing], weight[crossing], n_groups) / total
    inside = np.bincount(groups, flows, n_groups)
    alone = -float(_plogp(flows).sum())
    switching = float(_plogp(np.array([leaving.sum()]))[0] - 2 * _plogp(leaving).sum())
    return flows, switching + alone + float(_plogp(leaving + inside).sum()), alone


def _plogp(x: _Floats) -> _Floats:
    return x * np.log2(x, out=np.zeros_like(x), where=x > 0)


def _as_array(links: pl.DataFrame) -> _Floats:
    """[links, 3]: source, target, weight."""
    return links.select(pl.all().cast(pl.Float64)).to_numpy()


def _adjacency(
    source: _Ints, target: _Ints, weight: _Floats, n: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], _Floats]:
    """Row pointers [n + 1], columns and weights of the symmetric matrix: every link both ways, repeated pairs added up."""
    key = np.concatenate([source * n + target, target * n + source])
    order = np.argsort(key, kind="stable")
    pairs, first = np.unique(key[order], return_index=True)
    weights = np.add.reduceat(np.concatenate([weight, weight])[order], first)
    pointers = np.searchsorted(pairs, np.arange(n + 1, dtype=np.int64) * n)
    return pointers.astype(np.int64), (pairs % n).astype(np.int32), weights
