"""Protocols `edge` and `logit_edge`: does a direct effect happen when only the direct paths are left?

In the model as it is, all MLPs are held at their clean activations and one source is set to 0. What a target would then read
(its activation before it is held, or the logit) changes through the residual stream, live attention and live norms alone: by
all paths from the source that cross no other MLP. Measured: the target's clean value minus this one; predicted: the weight
w(s→t). One pass per source measures all its targets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch

from neuron_atlas.core.attribution.faithfulness.interventions import InterventionModel
from neuron_atlas.core.attribution.faithfulness.statistics import Comparison
from neuron_atlas.core.attribution.rules import RuleSet
from neuron_atlas.core.attribution.select import Ints
from neuron_atlas.core.attribution.trace import trace_prompts
from neuron_atlas.core.records import AttributionGraph, TraceOptions

if TYPE_CHECKING:
    from torch import Tensor

    from neuron_atlas.core.attribution.faithfulness.cases import Case, Run

NODES = 64
"""Neurons of a graph whose edges are measured."""


@dataclass(frozen=True)
class EdgeComparison:
    """Edges of one prompt's graph between neurons, and from neurons to logits, under one method."""

    to_neurons: Comparison
    to_logits: Comparison


def measure_edges(
    model: InterventionModel, cases: Sequence[Case], rules: RuleSet, *, sources: int
) -> list[EdgeComparison]:
    """Measure edges of each case's graph under a rule set: all edges from up to `sources` of its neurons, taken at even distances.
    A prompt that cannot be traced is left out."""
    options = TraceOptions(top_n=NODES, edge_tau=0.0, rules=rules.name)
    graphs = trace_prompts(model, [case.prompt for case in cases], options=options)
    return [
        _compare(model, case.clean, graph, rules.identity, sources)
        for case, graph in zip(cases, graphs, strict=True)
        if isinstance(graph, AttributionGraph)
    ]


def direct_changes(
    model: InterventionModel, run: Run, sources: tuple[Ints, Ints, Ints], targets: tuple[Ints, Ints, Ints]
) -> tuple[Tensor, Tensor]:
    """By how much targets [S, N] and logits [S, V] fall when each source (layers, positions, neurons) is set to 0 and only its
    direct paths carry that on."""
    count = len(sources[0])
    held = torch.cat([run.activation[:, None], run.activation[:, None].repeat(1, count, 1, 1)], 1)  # row 0: nothing is changed
    layers, positions, neurons = (torch.as_tensor(part, device=held.device) for part in sources)
    held[layers, torch.arange(1, count + 1, device=held.device), positions, neurons] = 0.0
    seen: list[Tensor] = []
    logits = model.intervene([run.token_ids] * (count + 1), _holding(held, seen)).float()
    where = tuple(torch.as_tensor(part, device=held.device) for part in targets)
    read = torch.stack(seen)[where[0], :, where[1], where[2]].T.float()
    return read[:1] - read[1:], logits[:1] - logits[1:]


def _holding(held: Tensor, seen: list[Tensor]) -> Callable[[int, Tensor], Tensor]:
    """Note what every layer would have done, and let it do what it is held at."""

    def change(layer: int, activation: Tensor) -> Tensor:
        seen.append(activation.detach())
        return held[layer].to(activation.dtype)

    return change


def _compare(
    model: InterventionModel, run: Run, graph: AttributionGraph, method: str, sources: int
) -> EdgeComparison:
    neurons = graph.nodes.filter(pl.col("kind") == "neuron").sort("node")
    chosen = neurons.gather(_spread(neurons.height, sources)).with_row_index("row")
    logits = graph.nodes.filter(pl.col("kind") == "logit").sort("node")
    on_neurons, on_logits = direct_changes(model, run, _places(chosen), _places(neurons))
    of_traced = on_logits[:, torch.as_tensor(logits["token_id"].to_numpy().copy())]
    return EdgeComparison(
        _compared(graph.edges, chosen, neurons, on_neurons, method),
        _compared(graph.edges, chosen, logits, of_traced, method),
    )


def _compared(
    edges: pl.DataFrame, sources: pl.DataFrame, targets: pl.DataFrame, changes: Tensor, method: str
) -> Comparison:
    rows = (
        edges.join(sources.select("row", source="node"), on="source")
        .join(targets.with_row_index("column").select("column", target="node"), on="target")
        .sort("source", "target")
    )
    measured = changes.cpu().numpy()[rows["row"].to_numpy(), rows["column"].to_numpy()]
    return Comparison({method: rows["weight"].cast(pl.Float64).to_numpy()}, measured.astype(np.float64))


def _places(neurons: pl.DataFrame) -> tuple[Ints, Ints, Ints]:
    layers, positions, numbers = (
        neurons[name].to_numpy().astype(np.int64) for name in ("layer", "position", "neuron")
    )
    return layers, positions, numbers


def _spread(size: int, count: int) -> list[int]:
    count = min(size, count)
    return [index * size // count for index in range(count)]
