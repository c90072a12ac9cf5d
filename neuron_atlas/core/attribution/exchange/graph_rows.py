"""A graph's frames as plain rows, with every float in its shortest exact form.

A 32-bit float written as a 64-bit one takes 17 digits (0.30000001192092896); the shortest text that reads back as the same
32-bit number takes half of that, so files are smaller and nothing is lost.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
import polars as pl

from neuron_atlas.core.records import AttributionGraph, NeuronId, NeuronLabels
from neuron_atlas.errors import BadInput


@dataclass(frozen=True, slots=True)
class NodeRow:
    """One row of `graph.nodes`, see table `nodes`. `neuron` is -1 for embeddings and logits, `token_id` -1 for neurons."""

    node: int
    kind: Literal["embedding", "neuron", "logit"]
    layer: int
    position: int
    neuron: int
    token_id: int
    activation: float
    relevance: float
    direct: float
    influence: float
    bias: float
    error: float

    @property
    def id(self) -> NeuronId:
        """The neuron; meaningless for other kinds."""
        return NeuronId(self.layer, self.neuron)

    @property
    def polarity(self) -> int:
        """+1 or -1: the sign of the activation (+1 for 0)."""
        return -1 if self.activation < 0 else 1

    def text(self, labels: NeuronLabels) -> str:
        """A neuron as `L18/N6721`, or `L18/N6721: capital cities` where its label for this sign is known."""
        label = labels.get((self.id, self.polarity))
        return f"{self.id}: {label}" if label else str(self.id)


@dataclass(frozen=True, slots=True)
class LogitRow:
    """One row of `graph.logits`, see table `targets`."""

    node: int
    token_id: int
    token: str
    logit: float
    probability: float
    goal_weight: float


@dataclass(frozen=True)
class GraphRows:
    """A graph ready to be written. Links are three parallel lists of equal length; `logits` is keyed by node."""

    n_layers: int
    nodes: list[NodeRow]
    logits: dict[int, LogitRow]
    sources: list[int]
    targets: list[int]
    weights: list[float]

    def of_kind(self, kind: Literal["embedding", "neuron", "logit"]) -> list[NodeRow]:
        """The nodes of one kind, in order."""
        return [row for row in self.nodes if row.kind == kind]


def graph_rows(graph: AttributionGraph) -> GraphRows:
    """Read a graph's frames. Raises `BadInput` for a graph without logits or with a number that is not finite."""
    graph = with_short_floats(graph)
    layers = graph.nodes.filter(pl.col("kind") == "logit")["layer"].unique().to_list()
    if len(layers) != 1:
        raise BadInput(f"the graph has logits in layers {layers}; expected exactly one layer, above all neurons")
    nodes, logits, edges = (
        graph.nodes.with_columns(pl.col("neuron", "token_id").fill_null(-1)),
        graph.logits,
        graph.edges,
    )
    return GraphRows(
        n_layers=int(layers[0]),
        nodes=[NodeRow(*row) for row in nodes.select(f.name for f in fields(NodeRow)).iter_rows()],
        logits={row[0]: LogitRow(*row) for row in logits.select(f.name for f in fields(LogitRow)).iter_rows()},
        sources=edges["source"].to_list(),
        targets=edges["target"].to_list(),
        weights=edges["weight"].to_list(),
    )


def with_short_floats(graph: AttributionGraph) -> AttributionGraph:
    """The graph with 64-bit floats of fewest digits that round to its 32-bit ones. Raises `BadInput` for a number that is not
    finite."""
    return replace(
        graph,
        nodes=_short_floats(graph.nodes),
        edges=_short_floats(graph.edges),
        logits=_short_floats(graph.logits),
    )


def _short_floats(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with 32-bit floats as the 64-bit floats of fewest digits that round to them."""
    for name, dtype in frame.schema.items():
        if not dtype.is_float():
            continue
        column = frame[name]
        if not column.is_finite().all():
            raise BadInput(f"the graph's column {name!r} holds numbers that are not finite; JSON cannot hold them")
        if dtype == pl.Float32:
            short = column.cast(pl.String).cast(pl.Float64).to_numpy()
            is_same = short.astype(np.float32) == column.to_numpy()
            frame = frame.with_columns(pl.Series(name, np.where(is_same, short, column.cast(pl.Float64).to_numpy())))
    return frame
