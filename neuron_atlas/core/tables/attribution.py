"""Tables of attribution: graphs of prompts, and how faithful they are."""

from __future__ import annotations

import polars as pl

from neuron_atlas.core.tables.declare import BOOL, F32, I16, I32, PROMPT, TEXT, Table, columns

GRAPHS = Table(
    "graphs",
    "One row per prompt of a prompt set: traced, or quarantined with a reason.",
    ("prompt_id",),
    columns(
        PROMPT,
        ("prompt_set", TEXT, "the prompt set's name"),
        ("kind", TEXT, "domain | baseline"),
        ("text", TEXT, "the prompt"),
        ("tags", TEXT, "JSON object of the prompt's free tags"),
        ("reason", TEXT, "why it was quarantined; missing for a traced prompt", True),
        ("token_ids", pl.List(I32), "token ids, BOS included", True),
        ("tokens", pl.List(TEXT), "token texts", True),
        ("position", I32, "token position whose logits are traced, from 0", True),
        ("goal", TEXT, "top_k | tokens | contrast | direction", True),
        ("goal_value", F32, "value of the goal (logits)", True),
        ("rules", TEXT, "linearisation rule set and version, e.g. relp/1", True),
        ("dtype", TEXT, "dtype of the forward pass", True),
        ("n_nodes", I32, "rows in nodes", True),
        ("n_edges", I32, "rows in edges", True),
        ("is_trimmed", BOOL, "whether more neurons qualified than max_nodes", True),
        ("completeness", F32, "influence-weighted share of inflow that comes from kept nodes, 0..1", True),
        (
            "replacement",
            F32,
            "share of influence reaching the goal from embeddings without passing an error term, 0..1",
            True,
        ),
        ("conservation_error", F32, "largest relative violation of conservation over all targets", True),
        ("kept_edge_share", F32, "share of sum |weight| that edges above the threshold hold", True),
        ("note", TEXT, "a remark on the graph, e.g. that a target word was traced by its first token", True),
        ("model_revision", TEXT, "sha256 of the model"),
        ("options", TEXT, "JSON of the trace options"),
        ("code_version", TEXT, "version of neuron_atlas"),
    ),
)
TARGETS = Table(
    "targets",
    "The logits each graph was traced to.",
    ("prompt_id", "node"),
    columns(
        PROMPT,
        ("node", I32, "node of the logit in the graph"),
        ("token_id", I32, "token"),
        ("token", TEXT, "token text"),
        ("logit", F32, "logit value (after soft-capping, if any)"),
        ("probability", F32, "softmax probability, 0..1"),
        ("goal_weight", F32, "weight of this logit in the goal (1; -1 for the negative of a contrast)"),
    ),
)
NODES = Table(
    "nodes",
    "Nodes of every graph: token embeddings, neuron instances, traced logits.",
    ("prompt_id", "node"),
    columns(
        PROMPT,
        ("node", I32, "dense id: embeddings by position, neurons by (layer, position, neuron), logits"),
        ("kind", TEXT, "embedding | neuron | logit"),
        ("layer", I16, "-1 for embeddings, n_layers for logits"),
        ("position", I32, "token position, from 0"),
        ("neuron", I32, "coordinate in the layer; missing for embeddings and logits", True),
        ("token_id", I32, "token id of embeddings and logits", True),
        ("activation", F32, "the node's value v; 1 for embeddings, the logit for logits"),
        (
            "relevance",
            F32,
            "v * d goal / d v, total effect on the goal (logits); the goal weight times the logit for logits",
        ),
        ("direct", F32, "part of relevance that reaches the goal without passing another MLP (logits)"),
        ("influence", F32, "share of absolute influence on the goal through kept edges, cumulative rank order 0..1"),
        ("bias", F32, "inflow from constants (units of the value); 0 for embeddings"),
        (
            "error",
            F32,
            "inflow from everything not kept: unselected neurons and edges below the threshold; 0 for embeddings",
        ),
    ),
)
EDGES = Table(
    "edges",
    "Direct effects between nodes of a graph: v_s * d v_t / d v_s with the MLPs between cut.",
    ("prompt_id", "target", "source"),
    columns(
        PROMPT,
        ("source", I32, "node from which the effect comes"),
        ("target", I32, "node on which it acts"),
        ("weight", F32, "in units of the target's value; flow = weight / v_t * relevance_t"),
    ),
)
FAITHFULNESS = Table(
    "faithfulness",
    "How well the attributions of each rule set predict what interventions in the model itself do.",
    ("prompt_set", "protocol", "method", "n"),
    columns(
        ("prompt_set", TEXT, "the prompt set's name"),
        (
            "protocol",
            TEXT,
            "patch_output | ablate_one | ablate_subset | keep_top | circuit | complement | edge | direct",
        ),
        ("method", TEXT, "linearisation rule set and version, e.g. relp/1, or random for random circuits"),
        ("n", I32, "nodes ablated or kept, or neurons of the circuit; 0 where the protocol has no size"),
        ("n_prompts", I32, "prompts (pairs of prompts for patch_output)"),
        ("n_runs", I32, "measurements: interventions, or edges"),
        ("pearson", F32, "correlation of predicted and measured effects within a prompt, mean over prompts", True),
        ("pearson_low", F32, "lower end of its 95 % interval over prompts", True),
        ("pearson_high", F32, "upper end", True),
        ("spearman", F32, "the same for ranks", True),
        ("spearman_low", F32, "lower end of its 95 % interval", True),
        ("spearman_high", F32, "upper end", True),
        ("share", F32, "share of the goal that is left, 0 with none of the neurons, 1 with all of them", True),
        ("share_low", F32, "lower end of its 95 % interval over prompts", True),
        ("share_high", F32, "upper end", True),
    ),
)
