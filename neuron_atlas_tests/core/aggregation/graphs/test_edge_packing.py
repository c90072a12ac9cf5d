"""A packed row is smaller and says the same: the law, and what is left out when."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from neuron_atlas.core.aggregation.graphs.edge_packing import EDGE_WAYS, pack, unpack
from neuron_atlas.core.tables import EDGE_SUMS, SCALE_BITS

number = st.floats(-1000, 1000, width=32).map(lambda x: x + 0.0)
Instances = list[tuple[float, float]]


def fixed(x: float) -> int:
    return int(np.rint(x * 2.0**SCALE_BITS))


def summed(rows: list[Instances]) -> pl.DataFrame:
    """Unpacked sums of edges given as their instances (weight, slope)."""
    made = [
        {
            "n": len(seen),
            "n_prompts": 1,
            "n_positive": sum(w > 0 for w, _ in seen),
            "weight_sum_q": sum(fixed(w) for w, _ in seen),
            "weight_abs_sum_q": sum(fixed(abs(w)) for w, _ in seen),
            "weight_sq_sum_q": sum(fixed(w * w) for w, _ in seen),
            "flow_sum_q": sum(fixed(w * s) for w, s in seen),
            "flow_abs_sum_q": sum(fixed(abs(w * s)) for w, s in seen),
            "weight_min": min(w for w, _ in seen),
            "weight_max": max(w for w, _ in seen),
            "slope_min": min(s for _, s in seen),
            "slope_max": max(s for _, s in seen),
        }
        for seen in rows
    ]
    schema = {name: EDGE_SUMS.schema.get(name, pl.Float64()) for name in EDGE_WAYS}
    return pl.DataFrame(made, schema=schema)


@given(rows=st.lists(st.lists(st.tuples(number, number), min_size=1, max_size=4), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_unpacking_gives_every_sum_back(rows: list[Instances]) -> None:
    sums = summed(rows)
    back = unpack(pack(sums.lazy())).collect().select(sums.columns)
    slopes = ["slope_min", "slope_max"]
    assert back.drop(slopes).equals(sums.drop(slopes))
    few = sums["n"] <= 2
    assert back.filter(few).select(slopes).equals(sums.filter(few).select(slopes))  # what merging them further needs


def test_one_or_two_instances_need_no_sums() -> None:
    once, twice = [(0.5, 3.0)], [(-0.5, 3.0), (2.0, -1.0)]
    packed = pack(summed([once, twice]).lazy()).collect()
    assert packed.select(pl.selectors.ends_with("_q")).null_count().row(0) == (2, 2, 2, 2, 2)
    kept = ("weight_min", "weight_max", "slope_low", "slope_high")
    assert packed.select(kept).rows() == [(None, 0.5, None, 3.0), (-0.5, 2.0, 3.0, -1.0)]


def test_from_three_on_the_sums_stay_and_magnitudes_where_signs_differ() -> None:
    agreeing, opposed = [(1.0, 1.0)] * 3, [(1.0, 1.0), (1.0, 1.0), (-1.0, 1.0)]
    packed = pack(summed([agreeing, opposed]).lazy()).collect()
    one = 2**SCALE_BITS
    assert packed.select("weight_sum_q", "weight_abs_sum_q", "slope_high").rows() == [
        (3 * one, None, None),
        (one, 3 * one, None),
    ]


def test_a_sum_that_does_not_follow_is_kept() -> None:
    """Whatever its cause: packing never trusts, it works the sums out again and compares."""
    odd = summed([[(0.5, 3.0)]]).with_columns(pl.col("flow_sum_q", "flow_abs_sum_q") + 1)
    packed = pack(odd.lazy())
    assert packed.collect()["flow_sum_q"].to_list() == [fixed(1.5) + 1]
    assert unpack(packed).collect().select("weight_sum_q", "flow_sum_q").row(0) == (fixed(0.5), fixed(1.5) + 1)
