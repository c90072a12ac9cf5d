"""Flow between the parts of a circuit: tokens, modules, answers.

Every link of the graph joins two parts: a token (its embedding), a module, an answer, or the rest (neurons in no module). Summed
by parts, the flows (logits, see `core/attribution/effects/edge_flow.py`) keep their sign; the sum of |flow| is kept beside them,
because much of what two parts exchange may cancel. Nothing is left out, so the parts' |flow| adds up to the graph's.
"""

from __future__ import annotations

import polars as pl

from neuron_atlas.core.attribution.effects.edge_flow import edge_flows
from neuron_atlas.core.records import AttributionGraph


def module_flows(graph: AttributionGraph, members: pl.DataFrame) -> pl.DataFrame:
    """Flow between parts: source_kind and target_kind (token | module | rest | answer), source and target (position, module
    number, 0, index of the answer), flow and flow_abs (logits), n_links; the most |flow| first.

    `members` has columns node and module (see `GraphModules`).
    """
    answers = graph.logits.select("node").with_row_index("answer").cast({"answer": pl.Int32})
    named = graph.nodes.join(members.select("node", "module"), on="node", how="left").join(
        answers, on="node", how="left"
    )
    parts = named.select(
        "node",
        kind=pl.when(pl.col("kind") == "embedding")
        .then(pl.lit("token"))
        .when(pl.col("kind") == "logit")
        .then(pl.lit("answer"))
        .when(pl.col("module").is_null())
        .then(pl.lit("rest"))
        .otherwise(pl.lit("module")),
        part=pl.when(pl.col("kind") == "embedding")
        .then(pl.col("position"))
        .when(pl.col("kind") == "logit")
        .then(pl.col("answer"))
        .otherwise(pl.col("module").fill_null(0)),
    )
    keys = ["source_kind", "source", "target_kind", "target"]
    return (
        edge_flows(graph)
        .join(parts.select(source="node", source_kind="kind", source_part="part"), on="source")
        .join(parts.select(target="node", target_kind="kind", target_part="part"), on="target")
        .select(
            "source_kind", "target_kind", pl.col("flow").cast(pl.Float64), source="source_part", target="target_part"
        )
        .group_by(keys)
        .agg(flow=pl.col("flow").sum(), flow_abs=pl.col("flow").abs().sum(), n_links=pl.len())
        .sort(pl.col("flow_abs").round(9), *keys, descending=[True, *(False for _ in keys)])
        .select(*keys, "flow", "flow_abs", "n_links")
    )


def module_traffic(flows: pl.DataFrame) -> pl.DataFrame:
    """By module: module, flow_in and flow_out (|flow| that crosses its border), within (|flow| between its own members)."""
    is_own = (pl.col("source_kind") == pl.col("target_kind")) & (pl.col("source") == pl.col("target"))
    sums = [
        flows.filter(pl.col(f"{end}_kind") == "module", of)
        .group_by(module=end)
        .agg(pl.col("flow_abs").sum().alias(name))
        for end, of, name in (
            ("target", ~is_own, "flow_in"),
            ("source", ~is_own, "flow_out"),
            ("source", is_own, "within"),
        )
    ]
    together = sums[0].join(sums[1], on="module", how="full", coalesce=True)
    return together.join(sums[2], on="module", how="full", coalesce=True).fill_null(0.0).sort("module")
