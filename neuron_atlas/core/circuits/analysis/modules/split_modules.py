"""Modules split by what their members do: at which positions and layers they are, what they read, what they write.

    answer     the prompt's tokens, or those of the answer prefix
    position   groups of positions with more than `max_gap` tokens between them
    layer      early, middle and late thirds of a module that spans more than `max_span` layers
    side       input: at least half of the |flow| in comes from tokens; output: at least half of the |flow| out goes to answers;
               both: through; neither: inner

A part of fewer than `min_size` members joins the nearest part of its module (positions first, then layers), so no neuron is
lost. Splits are made in the order given; parts are renumbered, early layers first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import polars as pl

from neuron_atlas.core.attribution.effects.edge_flow import edge_flows
from neuron_atlas.core.circuits.analysis.modules.graph_modules import GraphModules
from neuron_atlas.core.records import AttributionGraph
from neuron_atlas.errors import BadInput

Split: TypeAlias = Literal["answer", "position", "layer", "side"]


@dataclass(frozen=True, slots=True)
class SplitOptions:
    """Which splits are made, in order, and their limits (see above). `answer_start` is the first position of the answer prefix."""

    splits: tuple[Split, ...] = ("answer", "position")
    min_size: int = 2
    max_gap: int = 3
    max_span: int = 10
    answer_start: int | None = None

    def __post_init__(self) -> None:
        unknown = sorted(set(self.splits) - set(get_args(Split)))
        if unknown:
            raise BadInput(f"unknown split {unknown[0]!r}; expected some of {', '.join(get_args(Split))}")


_Row: TypeAlias = dict[str, float]
"""One member: node, layer, position, from_tokens and to_answers (shares 0..1)."""


def sides(graph: AttributionGraph) -> pl.DataFrame:
    """What share of every neuron's |flow| in comes from tokens, and of its |flow| out goes to answers: node, from_tokens,
    to_answers (0..1; 0 without flow)."""
    kinds = graph.nodes.select("node", "kind")
    links = edge_flows(graph).with_columns(flow=pl.col("flow").abs().cast(pl.Float64))
    ends = (("from_tokens", "target", "source", "embedding"), ("to_answers", "source", "target", "logit"))
    neurons = kinds.filter(pl.col("kind") == "neuron").select("node")
    for name, own, other, kind in ends:
        share = (
            links.join(kinds.rename({"node": other}), on=other)
            .group_by(node=own)
            .agg((pl.col("flow").filter(pl.col("kind") == kind).sum() / pl.col("flow").sum()).alias(name))
        )
        neurons = neurons.join(share, on="node", how="left", maintain_order="left")
    return neurons.with_columns(pl.col("from_tokens", "to_answers").fill_nan(0.0).fill_null(0.0))


def split_modules(graph: AttributionGraph, modules: GraphModules, options: SplitOptions) -> GraphModules:
    """The modules split: parts are modules of their own, whose path says how they were split (`2/positions 3-4`)."""
    members = modules.members.join(sides(graph), on="node", how="left", maintain_order="left")
    parts: list[tuple[str, list[_Row]]] = []
    for _, group in members.drop_nulls("module").group_by("module", maintain_order=True):
        columns = group.select("node", "layer", "position", "from_tokens", "to_answers").cast(pl.Float64)
        pieces: list[tuple[str, list[_Row]]] = [(str(group["path"][0]), list(columns.iter_rows(named=True)))]
        for split in options.splits:
            pieces = [one for name, rows in pieces for one in _cut(name, rows, split, options)]
        parts += pieces
    parts.sort(key=lambda part: (sum(row["layer"] for row in part[1]) / len(part[1]), part[1][0]["node"]))
    named = pl.DataFrame(
        [(int(row["node"]), number, name) for number, (name, rows) in enumerate(parts, 1) for row in rows],
        schema={"node": pl.Int32, "module": pl.Int32, "path": pl.String},
        orient="row",
    )
    kept = modules.members.drop("module", "path").join(named, on="node", how="left", maintain_order="left")
    return GraphModules(kept.select(modules.members.columns), modules.saving)


def _cut(name: str, rows: list[_Row], split: Split, options: SplitOptions) -> list[tuple[str, list[_Row]]]:
    """The pieces of one module under one split; a single piece keeps its name."""
    key = _KEYS[split](rows, options)
    groups: dict[str, list[_Row]] = {}
    for row in sorted(rows, key=lambda row: (row["position"], row["layer"], row["node"])):
        groups.setdefault(key(row), []).append(row)
    groups = _merged(groups, options.min_size)
    if len(groups) == 1:
        return [(name, rows)]
    return [(f"{name}/{label}", sorted(piece, key=lambda row: row["node"])) for label, piece in groups.items()]


def _merged(groups: dict[str, list[_Row]], min_size: int) -> dict[str, list[_Row]]:
    """Groups with the small ones joined to the nearest, smallest first."""
    groups = dict(groups)
    while len(groups) > 1:
        label = min(groups, key=lambda one: len(groups[one]))
        if len(groups[label]) >= min_size:
            break
        small = groups.pop(label)
        nearest = min(groups, key=lambda one: _distance(groups[one], small))
        groups[nearest] = [*groups[nearest], *small]
    return groups


def _distance(a: list[_Row], b: list[_Row]) -> tuple[float, float]:
    position, layer = (
        abs(sum(row[name] for row in a) / len(a) - sum(row[name] for row in b) / len(b))
        for name in ("position", "layer")
    )
    return position, layer


def _by_answer(_rows: Sequence[_Row], options: SplitOptions) -> Callable[[_Row], str]:
    start = options.answer_start
    return lambda row: "prompt" if start is None or row["position"] < start else "answer"


def _by_position(rows: Sequence[_Row], options: SplitOptions) -> Callable[[_Row], str]:
    positions = sorted({int(row["position"]) for row in rows})
    groups: list[list[int]] = []
    for position in positions:
        if groups and position - groups[-1][-1] <= options.max_gap:
            groups[-1].append(position)
        else:
            groups.append([position])
    names = {
        position: f"position {group[0]}" if len(group) == 1 else f"positions {group[0]}-{group[-1]}"
        for group in groups
        for position in group
    }
    return lambda row: names[int(row["position"])]


def _by_layer(rows: Sequence[_Row], options: SplitOptions) -> Callable[[_Row], str]:
    low, high = min(row["layer"] for row in rows), max(row["layer"] for row in rows)
    if high - low <= options.max_span:
        return lambda _row: "layers"
    third = (high - low + 1) / 3
    return lambda row: ("early", "middle", "late")[min(2, int((row["layer"] - low) / third))]


def _by_side(_rows: Sequence[_Row], _options: SplitOptions) -> Callable[[_Row], str]:
    def side(row: _Row) -> str:
        reads, writes = row["from_tokens"] >= 0.5, row["to_answers"] >= 0.5
        return "through" if reads and writes else "input" if reads else "output" if writes else "inner"

    return side


_KEYS: dict[Split, Callable[[Sequence[_Row], SplitOptions], Callable[[_Row], str]]] = {
    "answer": _by_answer,
    "position": _by_position,
    "layer": _by_layer,
    "side": _by_side,
}
