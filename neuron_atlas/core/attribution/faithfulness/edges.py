"""Protocols `edge` and `direct`: does a direct effect happen when only the direct paths are left?

In the model as it is, all MLPs are held at their clean activations and one source is set to 0. What a target would then read
(its activation before it is held, or the goal) changes through the residual stream, live attention and live norms alone: by
all paths from the source that cross no other MLP. Measured: the target's clean value less this one; predicted: an edge's
weight w(s→t), or a node's `direct` effect on the goal. Edges are compared as shares of their target's value, so that all
targets count alike. One pass per source measures all its targets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch

from neuron_atlas.core.attribution.faithfulness.correlations_over_prompts import EffectComparison
from neuron_atlas.core.attribution.faithfulness.interventions import InterventionModel
from neuron_atlas.core.attribution.linearisation.rules import RuleSet
from neuron_atlas.core.attribution.select_nodes import Ints
from neuron_atlas.core.attribution.trace import trace_prompts
from neuron_atlas.core.records import AttributionGraph, TraceOptions

if TYPE_CHECKING:
    from torch import Tensor

    from neuron_atlas.core.attribution.faithfulness.cases import Case, Run

NODES = 64
"""Neurons of a graph whose edges are measured."""


@dataclass(frozen=True)
class EdgeComparison:
    """One prompt's graph under one method: edges between neurons as shares of the target's value, and direct effects on the goal
    in logits."""

    edges: EffectComparison
    direct: EffectComparison


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
    held = torch.cat(
        [run.activation[:, None], run.activation[:, None].repeat(1, count, 1, 1)], 1
    )  # row 0: nothing is changed
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


def _compare(model: InterventionModel, run: Run, graph: AttributionGraph, method: str, sources: int) -> EdgeComparison:
    neurons = graph.nodes.filter(pl.col("kind") == "neuron").sort("node").with_row_index("column")
    chosen = neurons.gather(_spread(neurons.height, sources)).with_row_index("row")
    on_neurons, on_logits = direct_changes(model, run, _places(chosen), _places(neurons))
    rows = (
        graph.edges.join(chosen.select("row", source="node"), on="source")
        .join(neurons.select("column", "activation", target="node"), on="target")
        .filter(pl.col("activation") != 0)
        .sort("source", "target")
    )
    falls = on_neurons.double().cpu().numpy()[rows["row"].to_numpy(), rows["column"].to_numpy()]
    value = rows["activation"].cast(pl.Float64).to_numpy()
    weight, direct = (frame.cast(pl.Float64).to_numpy() for frame in (rows["weight"], chosen["direct"]))
    on_goal = (on_logits @ run.over_logits).double().cpu().numpy()
    return EdgeComparison(
        EffectComparison({method: weight / value}, falls / value), EffectComparison({method: direct}, on_goal)
    )


def _places(neurons: pl.DataFrame) -> tuple[Ints, Ints, Ints]:
    layers, positions, numbers = (neurons[name].to_numpy().astype(np.int64) for name in ("layer", "position", "neuron"))
    return layers, positions, numbers


def _spread(size: int, count: int) -> list[int]:
    count = min(size, count)
    return [index * size // count for index in range(count)]
