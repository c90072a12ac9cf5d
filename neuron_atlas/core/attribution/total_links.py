"""A graph's links along all paths: how much of a node's value each token and neuron accounts for, MLPs in between included.

A graph's own edges stop at the next MLP, so that effects add up node by node. Total effects answer another question: what is
left of this node if that one goes, everything downstream responding? For every target the tokens' total effects sum to its
value (less what constants add), and a neuron's total effect on the goal is its relevance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from neuron_atlas.core.attribution.linearisation.rules import rule_set
from neuron_atlas.core.records import AttributionGraph
from neuron_atlas.errors import BadInput

if TYPE_CHECKING:
    from neuron_atlas.core.attribution.traceable_model import TraceableModel


def total_links(model: TraceableModel, graph: AttributionGraph, *, edge_tau: float = 0.01) -> pl.DataFrame:
    """Total effects between the nodes of a graph, in the columns of its edges (source, target, weight in units of the target's
    value); kept from `edge_tau` of the target's value on.

    Raises `BadInput` for a graph of another model, of a direction, or of a rule set that is not linear.
    """
    import torch

    from neuron_atlas.core.attribution.effects.direct_effects import node_vectors
    from neuron_atlas.core.attribution.effects.graph_scores import kept_edges
    from neuron_atlas.core.attribution.effects.total_effects import total_effects
    from neuron_atlas.core.attribution.graph.build_graphs import edge_frame
    from neuron_atlas.core.attribution.linearisation.freeze import freeze
    from neuron_atlas.core.attribution.linearisation.goal import Goal, linearise_goal
    from neuron_atlas.core.attribution.select_nodes import Nodes

    summary = graph.summary
    rules = rule_set(summary.rules.partition("/")[0])
    if summary.model_revision != model.spec.revision:
        raise BadInput(
            f"the graph was traced on another model ({summary.model_revision[:12]}, not {model.spec.revision[:12]}); trace it again"
        )
    if not rules.is_linear:
        raise BadInput(f"total effects need a linear rule set; this graph is of {rules.name}. Trace it with relp")
    if summary.goal == "direction":
        raise BadInput("a graph does not keep the direction it was traced for; total effects need traced logits")
    neurons = graph.nodes.filter(pl.col("kind") == "neuron")
    layers, positions, indices = (neurons[name].to_numpy().astype("int64") for name in ("layer", "position", "neuron"))
    goal = Goal(
        "tokens",
        tuple(graph.logits["token_id"].to_list()),
        tuple(graph.logits["token"].to_list()),
        tuple(graph.logits["goal_weight"].to_list()),
    )
    with torch.no_grad():
        recording = model.record([summary.token_ids[: summary.position + 1]])[0]
        frozen = freeze(model.folded, recording, rules)
        centre = summary.options is not None and summary.options.centre_logits
        traced = linearise_goal(model.folded, frozen, goal, centre=centre)
        nodes = Nodes(layers, positions, indices)
        effects = total_effects(model.folded, frozen, nodes, node_vectors(model.folded, frozen, nodes, traced.vectors))
    activations = torch.as_tensor(neurons["activation"].to_numpy(writable=True), device=traced.values.device)
    edges = kept_edges(effects, torch.cat([activations, traced.values]), edge_tau)
    return edge_frame(edges, length=frozen.length, n_tokens=len(summary.token_ids))
