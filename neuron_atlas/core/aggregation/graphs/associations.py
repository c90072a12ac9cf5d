"""What goes with a neuron: tokens at and before the positions where it fires, answers it acts on, neurons in the same prompts."""

from __future__ import annotations

import polars as pl

from neuron_atlas.core.aggregation.graphs.fixed_point import as_float
from neuron_atlas.core.aggregation.readable_tokens import TokenDecoder, token_texts

_PLACE = ("layer", "neuron", "polarity", "place")


def token_associations(sums: pl.DataFrame, base: pl.DataFrame, *, token_text: TokenDecoder, top: int) -> pl.DataFrame:
    """Table `token_associations`: the `top` over-represented tokens of every neuron, polarity and place.

    `frequency` is the token's share of the counts at that place, `lift` that share over the token's share of all prompt tokens.
    Tokens with lift above 1 are ranked by n * ln(lift): what the token adds to the evidence that the neuron prefers some
    tokens, so that neither a common token nor a single occurrence of a rare one comes first by itself.
    """
    rate = base.select("token_id", rate=pl.col("n") / max(int(base["n"].sum()), 1)).lazy()
    frequency = pl.col("n") / pl.col("n").sum().over(_PLACE)
    ranked = (
        sums.lazy()
        .with_columns(frequency=frequency)
        .join(rate, on="token_id")
        .with_columns(lift=pl.col("frequency") / pl.col("rate"))
        .filter(pl.col("lift") > 1)
        .with_columns(score=pl.col("n") * pl.col("lift").log())
        .sort(*_PLACE, -pl.col("score"), "token_id")
        .with_columns(rank=pl.int_range(pl.len()).over(_PLACE))
        .filter(pl.col("rank") < top)
        .select(*_PLACE, "rank", "token_id", "n", "frequency", "lift")
        .collect()
    )
    return ranked.join(token_texts(ranked["token_id"], token_text), on="token_id", how="left")


def output_associations(links: pl.DataFrame, *, token_text: TokenDecoder, top: int) -> pl.DataFrame:
    """Table `output_associations`: the `top` over-represented answers of every neuron, by the same measure as its input tokens.

    `links` are unpacked sums of the edges from neurons to logits, one row per edge.
    """
    n = pl.col("n")
    ranked = (
        links.lazy()
        .rename({"source_layer": "layer", "source": "neuron", "target": "token_id"})
        .with_columns(frequency=n / n.sum().over("layer", "neuron"), rate=n.sum().over("token_id") / n.sum())
        .with_columns(lift=pl.col("frequency") / pl.col("rate"), weight_mean=as_float("weight_sum_q") / n)
        .filter(pl.col("lift") > 1)
        .sort("layer", "neuron", -(n * pl.col("lift").log()), "token_id")
        .with_columns(rank=pl.int_range(pl.len()).over("layer", "neuron"))
        .filter(pl.col("rank") < top)
        .select("layer", "neuron", "rank", "token_id", "n", "n_prompts", "frequency", "lift", "weight_mean")
        .collect()
    )
    return ranked.join(token_texts(ranked["token_id"], token_text), on="token_id", how="left")


def cooccurrence(
    pairs: pl.DataFrame, present: pl.DataFrame, n_prompts: int, *, layer: int, top: int, min_prompts: int
) -> pl.DataFrame:
    """Table `cooccurrence`: for every neuron of a layer the `top` others by Jaccard index, then by shared prompts.

    `pairs` are all of `pair_sums` in which the layer is on either side. With n_a, n_b the prompts that show each and n_ab
    those that show both: jaccard = n_ab / (n_a + n_b - n_ab) and pmi = ln(n_ab * N / (n_a * n_b)) over all N prompts. `present`
    holds n_own (prompts) per neuron. Both measures are lower bounds where a prompt had more neurons than pairs are counted for
    (see `graph_stats.PAIR_LIMIT`).
    """
    kept = pairs.lazy().filter(pl.col("n_prompts") >= min_prompts)
    one = {"layer_a": "layer", "neuron_a": "neuron", "layer_b": "other_layer", "neuron_b": "other_neuron"}
    two = {"layer_b": "layer", "neuron_b": "neuron", "layer_a": "other_layer", "neuron_a": "other_neuron"}
    columns = ("layer", "neuron", "other_layer", "other_neuron", "n_prompts")
    both_ways = pl.concat([kept.rename(way).select(columns) for way in (one, two)]).filter(pl.col("layer") == layer)
    own, both = present.lazy(), pl.col("n_prompts").cast(pl.Float64)
    n_a, n_b = pl.col("n_own"), pl.col("n_own_other")
    return (
        both_ways.join(own, on=("layer", "neuron"))
        .join(own, left_on=("other_layer", "other_neuron"), right_on=("layer", "neuron"), suffix="_other")
        .with_columns(jaccard=both / (n_a + n_b - both), pmi=(both * n_prompts / (n_a * n_b)).log())
        .sort("layer", "neuron", -pl.col("jaccard"), -pl.col("n_prompts"), "other_layer", "other_neuron")
        .with_columns(rank=pl.int_range(pl.len()).over("layer", "neuron"))
        .filter(pl.col("rank") < top)
        .select("rank", *columns, "jaccard", "pmi")
        .collect()
    )
