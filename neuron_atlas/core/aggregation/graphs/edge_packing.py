"""Edge sums in few bytes: for an edge seen once or twice, its weights and slopes are stored instead of its sums.

An edge that appears once has one weight w and one slope s (the goal per unit of its target's value), so its sums are q(w), q(|w|),
q(w * w), q(w * s) and q(|w * s|), with q(x) = round(x * 2**30). Stored that way a row costs the bytes of w alone: slopes repeat,
since all edges into one node of one graph share one, and rows of one target lie together. With two appearances the same holds for
two weights and two slopes. From three on the sums are stored, and a sum of magnitudes only where signs differ.

`pack` leaves a sum out only where working it out again gives exactly that integer, so `unpack(pack(x)) == x` for every x; merging
goes through the unpacked form, where columns combine as `EDGE_WAYS` says.
"""

from __future__ import annotations

import polars as pl

from neuron_atlas.core.aggregation.graphs.fixed_point import fixed_point

EDGE_WAYS = {
    "n": "sum",
    "n_prompts": "sum",
    "n_positive": "sum",
    "weight_sum_q": "sum",
    "weight_abs_sum_q": "sum",
    "weight_sq_sum_q": "sum",
    "flow_sum_q": "sum",
    "flow_abs_sum_q": "sum",
    "weight_min": "min",
    "weight_max": "max",
    "slope_min": "min",
    "slope_max": "max",
}
"""How each column of unpacked edge sums is combined when parts merge. The slopes count for rows of one or two instances only."""

_SUMS = ("weight_sum_q", "weight_abs_sum_q", "weight_sq_sum_q", "flow_sum_q", "flow_abs_sum_q")


def pack(sums: pl.LazyFrame) -> pl.LazyFrame:
    """Columns of table `edge_sums` from unpacked sums (columns of EDGE_WAYS beside the key; slopes may be missing)."""
    straight = _derived(slope_low=pl.col("slope_min"), slope_high=pl.col("slope_max"), weight_low=pl.col("weight_min"))
    crossed = _derived(slope_low=pl.col("slope_max"), slope_high=pl.col("slope_min"), weight_low=pl.col("weight_min"))
    few = pl.col("n") <= 2
    is_straight, is_crossed = (
        (few & pl.all_horizontal(pl.col(name) == value for name, value in derived.items())).fill_null(False)
        for derived in (straight, crossed)
    )
    dropped, straight_on = pl.col("_dropped"), pl.col("_straight")
    one_signed = {
        magnitude: pl.col(magnitude) == pl.col(total).abs()
        for magnitude, total in (("weight_abs_sum_q", "weight_sum_q"), ("flow_abs_sum_q", "flow_sum_q"))
    }
    return (
        sums.with_columns(_straight=is_straight, _dropped=is_straight | is_crossed)
        .with_columns(
            slope_low=pl.when(dropped & (pl.col("n") == 2)).then(
                pl.when(straight_on).then("slope_min").otherwise("slope_max")
            ),
            slope_high=pl.when(dropped).then(pl.when(straight_on).then("slope_max").otherwise("slope_min")),
            weight_min=pl.when(pl.col("n") != 1).then("weight_min"),
            **{
                name: pl.when(~(dropped | one_signed[name]) if name in one_signed else ~dropped).then(name)
                for name in _SUMS
            },
        )
        .drop("_straight", "_dropped", "slope_min", "slope_max")
    )


def unpack(stored: pl.LazyFrame) -> pl.LazyFrame:
    """The sums of every row of table `edge_sums`, none missing: the inverse of `pack`, slopes aside."""
    weight_low = pl.coalesce("weight_min", "weight_max")
    derived = _derived(slope_low=pl.col("slope_low"), slope_high=pl.col("slope_high"), weight_low=weight_low)
    kept = {
        **{name: pl.col(name) for name in _SUMS},
        "weight_abs_sum_q": pl.coalesce("weight_abs_sum_q", pl.col("weight_sum_q").abs()),
        "flow_abs_sum_q": pl.coalesce("flow_abs_sum_q", pl.col("flow_sum_q").abs()),
    }
    is_kept = pl.col("weight_sum_q").is_not_null()
    return stored.with_columns(
        weight_min=weight_low,
        slope_min=pl.min_horizontal("slope_low", "slope_high"),
        slope_max=pl.max_horizontal("slope_low", "slope_high"),
        **{name: pl.when(is_kept).then(kept[name]).otherwise(derived[name]) for name in _SUMS},
    ).drop("slope_low", "slope_high")


def _derived(*, slope_low: pl.Expr, slope_high: pl.Expr, weight_low: pl.Expr) -> dict[str, pl.Expr]:
    """The sums of a row of one or two instances from its weights and slopes; the lower instance counts when there are two."""
    low, high = weight_low.cast(pl.Float64), pl.col("weight_max").cast(pl.Float64)
    two = (pl.col("n") == 2).cast(pl.Int64)
    terms = {
        "weight_sum_q": (fixed_point(low), fixed_point(high)),
        "weight_abs_sum_q": (fixed_point(low.abs()), fixed_point(high.abs())),
        "weight_sq_sum_q": (fixed_point(low * low), fixed_point(high * high)),
        "flow_sum_q": (fixed_point(low * slope_low), fixed_point(high * slope_high)),
        "flow_abs_sum_q": (fixed_point((low * slope_low).abs()), fixed_point((high * slope_high).abs())),
    }
    return {name: at_high + pl.when(two == 1).then(at_low).otherwise(0) for name, (at_low, at_high) in terms.items()}
