"""The sums of many prompt sets merged, and statistics of edges and neurons computed from them: the tables of asset `edge_stats`.

`merge_graph_stats` only adds. `edge_statistics` adds and then divides, once, at the end: means, spreads, rates,
over-representation. It never holds all sums: edges are added for a range of sources at a time, tokens and pairs for a layer at a
time, so what stays in memory is the result. A prompt that is in two prompt sets counts in both, in numerators and denominators
alike, because each set is a sample of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from neuron_atlas.core.aggregation.graphs.associations import cooccurrence, output_associations, token_associations
from neuron_atlas.core.aggregation.graphs.domain_specificity import domain_specificity
from neuron_atlas.core.aggregation.graphs.edge_merging import EDGE_BYTES, added_edges, ranges_of_sources
from neuron_atlas.core.aggregation.graphs.edge_packing import pack
from neuron_atlas.core.aggregation.graphs.fixed_point import as_float, collected, total
from neuron_atlas.core.aggregation.readable_tokens import TokenDecoder
from neuron_atlas.core.records import Frames, Tables
from neuron_atlas.core.tables import COOCCURRENCE, EDGE_STATS, SET_SUMS, TOKEN_ASSOCIATIONS, tables_of
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


def merge_graph_stats(parts: Sequence[Tables]) -> Frames:
    """The tables of asset `graph_stats` of several parts together: prompt sets, or shards of one prompt set.

    Exact: the result equals, byte for byte, that of summarizing all prompts at once, in any order. Raises `DamagedData` when
    the same prompt of the same set is in two parts (it would count twice), when a set is called domain in one part
    and baseline in another, or when a sum leaves its range; `BadInput` without any part.
    """
    if not parts:
        raise BadInput("expected at least one prompt set's graph_stats to merge, got none; run graph_stats first")
    stacked = {table.name: pl.concat([part[table.name] for part in parts]) for table in tables_of("graph_stats")}
    frames = {
        "edge_sums": pack(added_edges(stacked["edge_sums"], order=("target", "source")).lazy()).collect(),
        "neuron_prompts": stacked["neuron_prompts"].collect(),
        **{name: _added(stacked, name) for name in _WAYS},
    }
    _refuse_doubled(frames["neuron_prompts"])
    return {table.name: table.checked(frames[table.name]) for table in tables_of("graph_stats")}


def _added(sums: Tables, name: str, *, only: pl.Expr | None = None) -> pl.DataFrame:
    """One table of `graph_stats` added up to one row per key, of the rows that match `only`."""
    (table,) = (table for table in tables_of("graph_stats") if table.name == name)
    keys = ("prompt_set", "kind") if table is SET_SUMS else table.key
    rows = sums[name] if only is None else sums[name].filter(only)
    return collected(total(rows, keys, _WAYS[name]), what=f"merged {name}")


def _refuse_doubled(index: pl.DataFrame) -> None:
    """Raise `DamagedData` when a neuron has two rows for one prompt of one set: then two parts contain that prompt."""
    doubled = index.filter(pl.struct("layer", "neuron", "prompt_id", "prompt_set").is_duplicated())
    if doubled.height:
        prompt, name = doubled.sort("prompt_set", "prompt_id").select("prompt_id", "prompt_set").row(0)
        raise DamagedData(
            f"prompt {prompt!r} of prompt set {name!r} is in two of the parts; expected each prompt once per set"
        )


def edge_statistics(
    sums: Tables,
    *,
    token_text: TokenDecoder,
    n_tokens: int = 20,
    n_neighbours: int = 20,
    min_prompts: int = 2,
    memory_bytes: int = 2**30,
) -> Frames:
    """The tables of asset `edge_stats` from tables of `graph_stats`: of one prompt set, merged, or of many sets one after another.

    `n_tokens` associations are kept per neuron, polarity and place, and as many answers per neuron; `n_neighbours` co-occurring
    neurons per neuron, each seen together in at least `min_prompts` prompts. `memory_bytes` bounds the work on edges, beside the
    result; it changes nothing else. Raises as `merge`.
    """
    sets = SET_SUMS.checked(_added(sums, "set_sums"))
    n_prompts = int(sets["n_prompts"].sum())
    index = sums["neuron_prompts"].collect()
    _refuse_doubled(index)
    present = index.group_by("layer", "neuron").agg(n_own=pl.len().cast(pl.Int64))
    base = _added(sums, "token_base")
    layers = present["layer"].unique().sort().to_list()
    tokens, pairs = [TOKEN_ASSOCIATIONS.empty()], [COOCCURRENCE.empty()]
    for layer in layers:
        here, on_either_side = pl.col("layer") == layer, (pl.col("layer_a") == layer) | (pl.col("layer_b") == layer)
        seen, together = _added(sums, "token_sums", only=here), _added(sums, "pair_sums", only=on_either_side)
        found = token_associations(seen, base, token_text=token_text, top=n_tokens)
        tokens.append(TOKEN_ASSOCIATIONS.checked(found))
        others = cooccurrence(together, present, n_prompts, layer=layer, top=n_neighbours, min_prompts=min_prompts)
        pairs.append(COOCCURRENCE.checked(others))
    edges: list[pl.DataFrame] = []
    answers: list[pl.DataFrame] = []
    to_logits = (pl.col("source_kind") == "neuron") & (pl.col("target_kind") == "logit")
    for part in ranges_of_sources(sums["edge_sums"], memory_bytes // EDGE_BYTES):
        added = added_edges(part, order=("source", "target"))
        edges.append(EDGE_STATS.checked(_edge_stats(added, present, n_prompts)))
        answers.append(added.filter(to_logits))
    frames: Frames = {
        "edge_stats": pl.concat(edges),
        "neuron_profiles": _neuron_profiles(sums, sets, n_prompts),
        "token_associations": pl.concat(tokens),
        "output_associations": output_associations(pl.concat(answers), token_text=token_text, top=n_tokens),
        "cooccurrence": pl.concat(pairs),
        "neuron_prompts": index,
    }
    return {table.name: table.checked(frames[table.name]) for table in tables_of("edge_stats")}


def _edge_stats(edges: pl.DataFrame, present: pl.DataFrame, n_prompts: int) -> pl.DataFrame:
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
        edges.lazy()
        .with_columns(**neuron_end)
        .join(present.lazy(), on=("layer", "neuron"), how="left", maintain_order="left")
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
    domains = domain_specificity(_added(sums, "set_neurons"), sets)
    return (
        _added(sums, "neuron_sums")
        .lazy()
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
