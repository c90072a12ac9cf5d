"""The sums of one prompt set's graphs: everything that later statistics need, in a form that merges exactly. The tables of asset
`graph_stats`.

Two counts are kept apart everywhere: *instances* (a neuron at a position, an edge between two positions) and *distinct
prompts* (was it there at all). Rates use prompts over prompts, so none exceeds 1. A neuron's two polarities are counted
apart: a negative activation has another cause than a positive one. Sums of floats are fixed-point, see `fixed_point.py`.

Special tokens (BOS, EOS, padding) are left out of token counts; nodes standing on them still count as nodes.
"""

from __future__ import annotations

import polars as pl

from neuron_atlas.core.aggregation.graphs.edge_sums import sum_edges
from neuron_atlas.core.aggregation.graphs.fixed_point import SCALE, absmax, collected, quantized, unsigned_zero
from neuron_atlas.core.records import Frames, Tables
from neuron_atlas.core.tables import NODES, SET_SUMS, tables_of
from neuron_atlas.errors import DamagedData

WINDOW = 5
"""How many tokens before an instance count as its surroundings."""

PAIR_LIMIT = 256
"""Pairs are counted among at most this many neurons of a prompt, those of largest |relevance|."""

_WHERE = ("layer", "neuron", "polarity")


def sum_graphs(
    raw: Tables, *, prompt_set: str, kind: str, special_ids: frozenset[int], pair_limit: int = PAIR_LIMIT
) -> Frames:
    """The tables of asset `graph_stats` from the tables of asset `raw_graphs`.

    Nodes are held in memory with a few columns, edges pass through in chunks of whole prompts. In a prompt with more than
    `pair_limit` neurons, pairs are counted among the most relevant ones only: the choice depends on that prompt alone, so
    sums still merge exactly, but pair counts are lower bounds there.

    Raises `DamagedData` for graphs of another prompt set, nodes or edges of unknown prompts, and numbers that are not finite
    or out of range.
    """
    graphs = raw["graphs"].select("prompt_id", "prompt_set", "reason", "token_ids", "n_edges").collect()
    others = sorted(set(graphs["prompt_set"].unique().to_list()) - {prompt_set})
    if others:
        raise DamagedData(
            f"expected graphs of prompt set {prompt_set!r} only, got {others} as well; aggregate each set separately"
        )
    traced = graphs.filter(pl.col("reason").is_null()).sort("prompt_id")
    tokens = _tokens(traced)
    counted = tokens.filter(~pl.col("token_id").is_in(sorted(special_ids)))
    nodes = _traced_nodes(raw["nodes"], traced)
    instances = nodes.filter(pl.col("kind") == "neuron").with_columns(
        activation=unsigned_zero(pl.col("activation")),
        polarity=pl.when(pl.col("activation") < 0).then(-1).otherwise(1).cast(pl.Int8),
    )
    sums = _neuron_sums(instances.lazy())
    index = _neuron_prompts(instances.lazy(), prompt_set)
    frames = {
        "set_sums": SET_SUMS.empty().vstack(
            pl.DataFrame(
                {
                    "prompt_set": [prompt_set],
                    "kind": [kind],
                    "n_prompts": [traced.height],
                    "n_quarantined": [graphs.height - traced.height],
                    "n_tokens": [tokens.height],
                }
            )
        ),
        "edge_sums": sum_edges(traced, nodes, raw["targets"], raw["edges"]),
        "neuron_sums": sums,
        "token_sums": _token_sums(instances.lazy(), counted.lazy()),
        "token_base": counted.group_by("token_id").agg(n=pl.len()),
        "pair_sums": _pair_sums(index, pair_limit),
        "set_neurons": sums.select(*_WHERE, "n_prompts", prompt_set=pl.lit(prompt_set)),
        "neuron_prompts": index,
    }
    return {table.name: table.checked(frames[table.name]) for table in tables_of("graph_stats")}


def _tokens(traced: pl.DataFrame) -> pl.DataFrame:
    """One row per token of the traced prompts: prompt_id, position (from 0), token_id."""
    if traced["token_ids"].null_count():
        raise DamagedData("expected token ids for every traced prompt, got none for some; trace the prompt set again")
    return (
        traced.lazy()
        .filter(pl.col("token_ids").list.len() > 0)
        .select("prompt_id", "token_ids", position=pl.int_ranges(0, pl.col("token_ids").list.len(), dtype=pl.Int32))
        .explode("token_ids", "position")
        .rename({"token_ids": "token_id"})
        .collect()
    )


def _traced_nodes(nodes: pl.LazyFrame, traced: pl.DataFrame) -> pl.DataFrame:
    """The nodes, with prompt_id as an enumeration of the traced prompts, sorted by (prompt_id, node)."""
    prompts = pl.Enum(traced["prompt_id"])
    wanted = [c for c in NODES.schema if c not in ("influence", "bias", "error")]
    try:
        return nodes.select(wanted).with_columns(pl.col("prompt_id").cast(prompts)).sort("prompt_id", "node").collect()
    except pl.exceptions.InvalidOperationError as error:
        raise DamagedData(f"a node belongs to no traced prompt of this set: {error}") from error


def _neuron_sums(instances: pl.LazyFrame) -> pl.DataFrame:
    relevance, direct = pl.col("relevance").cast(pl.Float64), pl.col("direct").cast(pl.Float64)
    indirect = (relevance - direct).abs()
    both = direct.abs() + indirect
    share = pl.when(both > 0).then(direct.abs() / both).otherwise(0.5)
    sums = (
        instances.with_columns(indirect=indirect, share=share)
        .group_by(*_WHERE)
        .agg(
            n=pl.len(),
            n_prompts=pl.col("prompt_id").n_unique(),
            activation_sum_q=quantized(pl.col("activation")).sum(),
            activation_max=absmax(pl.col("activation")),
            relevance_sum_q=quantized(relevance).sum(),
            relevance_abs_sum_q=quantized(relevance.abs()).sum(),
            direct_sum_q=quantized(direct).sum(),
            direct_abs_sum_q=quantized(direct.abs()).sum(),
            indirect_abs_sum_q=quantized(pl.col("indirect")).sum(),
            der_sum_q=quantized(pl.col("share")).sum(),
            der_sq_sum_q=quantized(pl.col("share") ** 2).sum(),
            der_min=pl.col("share").min(),
            der_max=pl.col("share").max(),
        )
    )
    return collected(sums, what="neuron instances")


def _token_sums(instances: pl.LazyFrame, tokens: pl.LazyFrame) -> pl.DataFrame:
    """Tokens at (active) and up to WINDOW places before (window) every instance."""
    prompts = instances.collect_schema()["prompt_id"]
    tokens = tokens.with_columns(pl.col("prompt_id").cast(prompts))
    before = pl.concat(tokens.with_columns(pl.col("position") + back) for back in range(1, WINDOW + 1))
    where = instances.select("prompt_id", "position", *_WHERE)
    counts = [
        where.join(seen, on=("prompt_id", "position"))
        .group_by(*_WHERE, "token_id")
        .agg(n=pl.len())
        .with_columns(place=pl.lit(place))
        for place, seen in (("active", tokens), ("window", before))
    ]
    return pl.concat(counts).collect(engine="streaming")


def _neuron_prompts(instances: pl.LazyFrame, prompt_set: str) -> pl.DataFrame:
    """Table `neuron_prompts`: relevance is the exact sum of the neuron's instances in that prompt."""
    sums = instances.group_by("layer", "neuron", "prompt_id").agg(relevance_q=quantized(pl.col("relevance")).sum())
    return collected(sums, what=f"relevance in prompt set {prompt_set!r}").select(
        "layer",
        "neuron",
        pl.col("prompt_id").cast(pl.String),
        prompt_set=pl.lit(prompt_set),
        relevance=(pl.col("relevance_q").cast(pl.Float64) / SCALE).cast(pl.Float32),
    )


def _pair_sums(index: pl.DataFrame, limit: int) -> pl.DataFrame:
    """Prompts in which two neurons both appear, among the `limit` most relevant neurons of each prompt."""
    ids = index.select("layer", "neuron").unique().sort("layer", "neuron").with_row_index("code")
    members = (
        index.lazy()
        .sort("prompt_id", -pl.col("relevance").abs(), "layer", "neuron")
        .group_by("prompt_id", maintain_order=True)
        .head(limit)
        .join(ids.lazy(), on=("layer", "neuron"))
        .select("prompt_id", "code")
    )
    pairs = (
        members.join(members, on="prompt_id", suffix="_b")
        .filter(pl.col("code") < pl.col("code_b"))
        .group_by("code", "code_b")
        .agg(n_prompts=pl.len())
        .collect(engine="streaming")
    )
    a, b = pairs["code"], pairs["code_b"]
    return pl.DataFrame(
        {
            "layer_a": ids["layer"].gather(a),
            "neuron_a": ids["neuron"].gather(a),
            "layer_b": ids["layer"].gather(b),
            "neuron_b": ids["neuron"].gather(b),
            "n_prompts": pairs["n_prompts"],
        }
    )
