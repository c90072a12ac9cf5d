"""How much of the goal passes along each of a graph's edges, in logits: flow = weight · slope of the target.

The slope of a neuron is its relevance over its activation; of a traced logit, its weight in the goal. So all flows into a neuron
add up to its relevance, up to its bias and error. Not here: the same sum over many graphs (`core/aggregation/graphs`).
"""

from __future__ import annotations

import polars as pl

from neuron_atlas.core.records import AttributionGraph


def edge_flows(graph: AttributionGraph) -> pl.DataFrame:
    """The edges of a graph with their flow: columns source, target (nodes), weight (units of the target's value), flow (logits),
    in the order of the graph. Flows are as precise as the graph's numbers; into a node of activation 0 nothing flows."""
    slope = pl.when(pl.col("activation") != 0).then(pl.col("relevance") / pl.col("activation")).otherwise(0.0)
    slopes = graph.nodes.join(graph.logits.select("node", "goal_weight"), on="node", how="left").select(
        target="node", slope=pl.coalesce("goal_weight", slope)
    )
    return graph.edges.join(slopes, on="target", how="left", maintain_order="left").select(
        "source", "target", "weight", flow=pl.col("weight") * pl.col("slope")
    )
