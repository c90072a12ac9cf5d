"""Modules of one graph: which neuron instances work together on this prompt.

Two views of "together":

    roles   they have the same sources and the same targets, with the same sign (the default)
    flow    a random walker along |flow| stays among them: they pass flow to each other

The graph of one prompt is layered and dense: nearly every early instance is linked to nearly every late one. By flow nearly
everything is one module (on the demo model's two-hop prompts nine tenths of a graph), while instances that do the same have like
sources and targets. A **role** is the vector of an instance's flows in, over all sources, beside the vector of its flows out,
over all targets, each of length 1. The likeness of two instances is the mean of both cosines; those at least `MIN_LIKENESS` alike
are linked, and Infomap finds the modules of these links (see `clustering/find_modules.py`). Flows have signs, so what raises the
goal and what lowers it are in different modules.

A module of more than `split_above` instances is divided again: by roles with a stricter likeness, by flow among its own links. A
member that is left alone by a division joins the part it is linked to most. Every neuron of the graph is kept; one without a module
has the reason beside it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neuron_atlas.core.attribution.effects.edge_flow import edge_flows
from neuron_atlas.core.circuits.clustering.find_modules import find_modules
from neuron_atlas.core.circuits.clustering.flow_graph import FlowGraph
from neuron_atlas.core.records import AttributionGraph
from neuron_atlas.errors import BadInput

View: TypeAlias = Literal["roles", "flow"]
Path: TypeAlias = tuple[int, ...]

MIN_LIKENESS = 0.2
"""Least likeness of two linked instances (-1..1); a division asks for as much more again."""

_Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class GraphModules:
    """The modules of one graph.

    `members`: one row per neuron instance, by node: node, layer, position, neuron, token (at its position), activation, relevance,
    direct (logits), module (from 1, early layers first; missing without one), path (`2.1`: first part of the second module;
    missing without one), reason (why it is in no module; missing for members). `saving` is the share of the code length that the
    modules save, 0 without links.
    """

    members: pl.DataFrame
    saving: float

    @property
    def count(self) -> int:
        """How many modules there are."""
        return self.members["module"].n_unique() - int(self.members["module"].has_nulls())


def cluster_graph(
    graph: AttributionGraph,
    *,
    special_ids: Collection[int] = (),
    view: View = "roles",
    min_size: int = 2,
    split_above: int = 40,
    max_depth: int = 3,
    seed: int = 0,
    trials: int = 10,
) -> GraphModules:
    """The modules of a graph; equal graphs and seeds give equal modules.

    Instances at the positions of special tokens are left out; `special_ids` are the ids that the tokenizer flags
    (`SubjectModel.special_ids`). A module has at least `min_size` instances and, unless `max_depth` divisions do not
    help, at most `split_above`. Raises `BadInput` for an unknown view or sizes that contradict each other.
    """
    if view not in get_args(View):
        raise BadInput(f"unknown view {view!r}; expected one of {', '.join(get_args(View))}")
    if min_size < 2 or split_above < min_size or max_depth < 1:
        raise BadInput(
            f"expected 2 <= min_size <= split_above and max_depth >= 1, got {min_size}, {split_above} and {max_depth}"
        )
    members = _instances(graph)
    special = members["position"].is_in([at for at, one in enumerate(graph.summary.token_ids) if one in special_ids])
    eligible = members.filter(~special)["node"].to_numpy()
    closeness = _likeness(graph, eligible) if view == "roles" else _exchange(graph, eligible)
    is_linked = (closeness > 0).any(axis=1)
    paths: dict[int, Path] = {}
    how = _Division(MIN_LIKENESS if view == "roles" else 0.0, split_above, max_depth, seed, trials)
    saving = _divide(closeness, np.flatnonzero(is_linked), (), paths, 0, how)
    by_node = {int(eligible[i]): path for i, path in paths.items() if path}
    named = _named(members, by_node, min_size=min_size)
    linked = set(eligible[is_linked].tolist())
    reasons = [
        None if node in named else _reason(is_special, node in linked, min_size)
        for node, is_special in zip(members["node"].to_list(), special.to_list(), strict=True)
    ]
    found = [named.get(node) for node in members["node"].to_list()]
    return GraphModules(
        members.with_columns(
            module=pl.Series([one and one[0] for one in found], dtype=pl.Int32),
            path=pl.Series([one and one[1] for one in found], dtype=pl.String),
            reason=pl.Series(reasons, dtype=pl.String),
        ),
        saving,
    )


def _instances(graph: AttributionGraph) -> pl.DataFrame:
    tokens = pl.DataFrame({"token": list(graph.summary.tokens)}, schema={"token": pl.String}).with_row_index("position")
    return (
        graph.nodes.filter(pl.col("kind") == "neuron")
        .join(tokens.cast({"position": pl.Int32}), on="position", how="left", maintain_order="left")
        .select("node", "layer", "position", "neuron", "token", "activation", "relevance", "direct")
        .sort("node")
    )


def _reason(is_special: bool, is_linked: bool, min_size: int) -> str:
    if is_special:
        return "at a special token"
    return f"in no group of at least {min_size}" if is_linked else "linked to no other instance"


def _flow_matrix(graph: AttributionGraph) -> _Floats:
    """Flows [nodes, nodes], source by target; nodes are dense."""
    links = edge_flows(graph)
    flows = np.zeros((graph.nodes.height, graph.nodes.height))
    flows[links["source"].to_numpy(), links["target"].to_numpy()] = links["flow"].to_numpy()
    return flows


def _likeness(graph: AttributionGraph, nodes: NDArray[np.int32]) -> _Floats:
    """Likeness [n, n] of instances by their roles, 0 for less than `MIN_LIKENESS` and on the diagonal."""
    flows = _flow_matrix(graph)
    inward, outward = _unit_rows(flows[:, nodes].T), _unit_rows(flows[nodes, :])
    alike = (inward @ inward.T + outward @ outward.T) / 2
    np.fill_diagonal(alike, 0.0)
    return np.where(alike >= MIN_LIKENESS, alike, 0.0)


def _exchange(graph: AttributionGraph, nodes: NDArray[np.int32]) -> _Floats:
    """|flow| [n, n] between instances, in either direction."""
    flows = np.abs(_flow_matrix(graph)[np.ix_(nodes, nodes)])
    return flows + flows.T


def _unit_rows(rows: _Floats) -> _Floats:
    size = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, size, out=np.zeros_like(rows), where=size > 0)


@dataclass(frozen=True, slots=True)
class _Division:
    """How modules are divided: each level asks for a likeness higher by `step`; more than `above` members are divided again."""

    step: float
    above: int
    levels: int
    seed: int
    trials: int


def _divide(
    closeness: _Floats, chosen: NDArray[np.intp], prefix: Path, paths: dict[int, Path], level: int, how: _Division
) -> float:
    """Fill `paths` with the modules of the chosen instances, dividing big ones again; the saving of this division."""
    inside = closeness[np.ix_(chosen, chosen)]
    inside = np.where(inside >= how.step * (level + 1), inside, 0.0)
    sources, targets = np.nonzero(np.triu(inside, 1))
    links = pl.DataFrame({"source": sources, "target": targets, "weight": inside[sources, targets]})
    graph = FlowGraph(pl.DataFrame({"at": np.arange(len(chosen))}), links)
    modules = find_modules(graph, seed=how.seed, trials=how.trials)
    parts = np.array([path[0] if path else 0 for path in modules.members["path"].to_list()], dtype=np.int64)
    if prefix:
        parts = _with_nearest(inside, parts)
    numbers = sorted(set(parts.tolist()) - {0})
    if prefix and len(numbers) < 2:
        if level + 1 < how.levels:
            _divide(closeness, chosen, prefix, paths, level + 1, how)
        return modules.saving
    for number in numbers:
        members, path = chosen[parts == number], (*prefix, number)
        paths.update((int(one), path) for one in members)
        if len(members) > how.above and level + 1 < how.levels:
            _divide(closeness, members, path, paths, level + 1, how)
    return modules.saving


def _with_nearest(inside: _Floats, parts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Parts with those left alone (0) moved to the part they are closest to in sum."""
    if not parts.any():
        return parts
    numbers = np.unique(parts[parts > 0])
    pull = np.stack([inside[:, parts == number].sum(axis=1) for number in numbers], axis=1)
    nearest = np.where(pull.max(axis=1) > 0, numbers[pull.argmax(axis=1)], numbers[0])
    return np.where(parts > 0, parts, nearest)


def _named(members: pl.DataFrame, paths: dict[int, Path], *, min_size: int) -> dict[int, tuple[int, str]]:
    """Module number and path text by node: modules of enough members, from 1 by mean layer, then by first node."""
    groups: dict[Path, list[int]] = {}
    for node, path in sorted(paths.items()):
        groups.setdefault(path, []).append(node)
    layers = dict(members.select("node", "layer").iter_rows())
    kept = {path: nodes for path, nodes in groups.items() if len(nodes) >= min_size}
    order = sorted(kept, key=lambda path: (np.mean([layers[node] for node in kept[path]]), kept[path][0]))
    return {node: (number, ".".join(map(str, path))) for number, path in enumerate(order, 1) for node in kept[path]}
