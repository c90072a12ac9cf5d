"""Many prompt sets' sums become one, and sums become statistics.

`merge` only adds. `profile` divides, once, at the end: means, spreads, rates, over-representation. A prompt that stands in two
prompt sets counts in both, in numerators and denominators alike, because each set is a sample of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from neuron_atlas.core.aggregation.associations import cooccurrence, token_associations
from neuron_atlas.core.aggregation.edge_packing import EDGE_WAYS, pack, unpack
from neuron_atlas.core.aggregation.fixed_point import as_float, collected, total
from neuron_atlas.core.aggregation.specificity import domain_specificity
from neuron_atlas.core.aggregation.token_words import TokenText
from neuron_atlas.core.records import Frames, Tables
from neuron_atlas.core.tables import tables_of
from neuron_atlas.errors import BadInput, DamagedData

_NEURON_WAYS = {
    "n": "sum",
    "n_prompts": "sum",
    "activation_sum_q": "sum",
    "activation_max": "absmax",
    "relevance_sum_q": "sum",
    "relevance_abs_sum_q": "sum",
    "direct_sum_q": "sum",
    "direct_abs_sum_q": "sum",
    "indirect_abs_sum_q": "sum",
    "der_sum_q": "sum",
    "der_sq_sum_q": "sum",
    "der_min": "min",
    "der_max": "max",
}
_WAYS: Mapping[str, Mapping[str, str]] = {
    "set_sums": {"n_prompts": "sum", "n_quarantined": "sum", "n_tokens": "sum"},
    "neuron_sums": _NEURON_WAYS,
    "token_sums": {"n": "sum"},
    "token_base": {"n": "sum"},
    "pair_sums": {"n_prompts": "sum"},
    "set_neurons": {"n_prompts": "sum"},
}
"""How the columns beside the key combine, for every table of `graph_stats` but the edges, which are packed, and the
inverted index, which is only stacked."""


def merge(parts: Sequence[Tables]) -> Frames:
    """The tables of asset `graph_stats` of several parts together: prompt sets, or shards of one prompt set.

    Exact: the result equals, byte for byte, that of summarizing all prompts at once, in any order. Raises `DamagedData` when
    the same prompt of the same set is in two parts (it would count twice), when a set is called domain in one part
    and baseline in another, or when a sum leaves its range; `BadInput` without any part.
    """
    if not parts:
        raise BadInput("expected at least one prompt set's graph_stats to merge, got none; run graph_stats first")
    frames: Frames = {}
    for table in tables_of("graph_stats"):
        stacked = pl.concat([part[table.name] for part in parts])
        if table.name == "neuron_prompts":
            frames[table.name] = stacked.collect()
            continue
        if table.name == "edge_sums":
            added = collected(total(unpack(stacked), table.key, EDGE_WAYS), what="merged edge_sums")
            frames[table.name] = pack(added.lazy()).collect()
            continue
        keys = ("prompt_set", "kind") if table.name == "set_sums" else table.key
        frames[table.name] = collected(total(stacked, keys, _WAYS[table.name]), what=f"merged {table.name}")
    doubled = frames["neuron_prompts"].filter(pl.struct("layer", "neuron", "prompt_id", "prompt_set").is_duplicated())
    if doubled.height:
        prompt, name = doubled.sort("prompt_set", "prompt_id").select("prompt_id", "prompt_set").row(0)
        raise DamagedData(
            f"prompt {prompt!r} of prompt set {name!r} is in two of the {len(parts)} parts; expected each prompt once per set"
        )
    return {table.name: table.checked(frames[table.name]) for table in tables_of("graph_stats")}


def profile(
    sums: Tables, *, token_text: TokenText, n_tokens: int = 20, n_neighbours: int = 20, min_prompts: int = 2
) -> Frames:
    """The tables of asset `edge_stats` from (merged) sums.

    `n_tokens` associations are kept per neuron, polarity and place, `n_neighbours` co-occurring neurons per neuron, each
    seen together in at least `min_prompts` prompts.
    """
    sets = sums["set_sums"].collect()
    n_prompts = int(sets["n_prompts"].sum())
    present = (
        sums["neuron_prompts"]
        .group_by("layer", "neuron")
        .agg(n_own=pl.len().cast(pl.Int64))
        .collect(engine="streaming")
    )
    frames: Frames = {
        "edge_stats": _edge_stats(unpack(sums["edge_sums"]), present.lazy(), n_prompts),
        "neuron_profiles": _neuron_profiles(sums, sets, n_prompts),
        "token_associations": token_associations(
            sums["token_sums"], sums["token_base"], token_text=token_text, top=n_tokens
        ),
        "cooccurrence": cooccurrence(sums["pair_sums"], present, n_prompts, top=n_neighbours, min_prompts=min_prompts),
        "neuron_prompts": sums["neuron_prompts"].collect(),
    }
    return {table.name: table.checked(frames[table.name]) for table in tables_of("edge_stats")}


def _edge_stats(edges: pl.LazyFrame, present: pl.LazyFrame, n_prompts: int) -> pl.DataFrame:
    """Means, spread and frequency of every edge. The spread is resolved to about 2**-15: squares are fixed-point too."""
    n = pl.col("n").cast(pl.Float64)
    mean = as_float("weight_sum_q") / n
    of_target = pl.col("target_kind") == "neuron"
    neuron_end = {
        "layer": pl.when(of_target).then(pl.col("target_layer")).otherwise(pl.col("source_layer")),
        "neuron": pl.when(of_target).then(pl.col("target"))
        .when(pl.col("source_kind") == "neuron").then(pl.col("source")),
    }  # fmt: skip
    return (
        edges.with_columns(**neuron_end)
        .join(present, on=("layer", "neuron"), how="left")
        .with_columns(
            frequency=pl.col("n_prompts") / pl.col("n_own").fill_null(n_prompts),
            weight_mean=mean,
            weight_abs_mean=as_float("weight_abs_sum_q") / n,
            weight_std=(as_float("weight_sq_sum_q") / n - mean * mean).clip(lower_bound=0).sqrt(),
            sign_agreement=pl.max_horizontal("n_positive", pl.col("n") - pl.col("n_positive")) / n,
            flow_mean=as_float("flow_sum_q") / n,
            flow_abs_mean=as_float("flow_abs_sum_q") / n,
        )
        .drop("layer", "neuron", "n_own", "n_positive", "slope_min", "slope_max", pl.selectors.ends_with("_q"))
        .collect(engine="streaming")
    )


def _neuron_profiles(sums: Tables, sets: pl.DataFrame, n_prompts: int) -> pl.DataFrame:
    n = pl.col("n").cast(pl.Float64)
    domains = domain_specificity(sums["set_neurons"].collect(), sets)
    return (
        sums["neuron_sums"]
        .select(
            "layer",
            "neuron",
            "polarity",
            "n",
            "n_prompts",
            "activation_max",
            frequency=pl.col("n_prompts") / max(n_prompts, 1),
            activation_mean=as_float("activation_sum_q") / n,
            relevance_mean=as_float("relevance_sum_q") / n,
            relevance_abs_mean=as_float("relevance_abs_sum_q") / n,
        )
        .join(domains.lazy(), on=("layer", "neuron", "polarity"), how="left")
        .collect()
    )
