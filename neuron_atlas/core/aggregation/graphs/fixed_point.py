"""Exact sums of floats: a float x is kept as the integer round(x * 2**SCALE_BITS), and integers add up the same in any order.

Float addition is not associative, so a float sum depends on shard order, retries and threads. The price is a resolution of
2**-31 per number and a range of +-2**33 (about 8.6e9) per sum; a sum that leaves the range is refused, never wrapped.
Sums run in 128 bits and are narrowed, with a check, at the end.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neuron_atlas.core.tables import SCALE_BITS
from neuron_atlas.errors import DamagedData

SCALE = float(2**SCALE_BITS)
Floats = NDArray[np.float64]
RANGE = float(2 ** (63 - SCALE_BITS))
"""No stored sum may reach this magnitude."""


def fixed_point(value: pl.Expr) -> pl.Expr:
    """The fixed-point integer of every value, Int64, halves to even. NaN, infinity and |x| >= 2**33 fail on collect."""
    return (value.cast(pl.Float64) * SCALE).round(mode="half_to_even").cast(pl.Int64)


def quantized(value: pl.Expr) -> pl.Expr:
    """`fixed_point`, ready to be summed: Int128."""
    return fixed_point(value).cast(pl.Int128)


def fixed_points(values: Floats, *, what: str) -> NDArray[np.int64]:
    """`fixed_point` of an array. Raises `DamagedData` for NaN, infinity and |x| >= 2**33; `what` names the data."""
    scaled = np.rint(values * SCALE)
    if not (np.abs(scaled) < 2.0**63).all():
        raise _unfit(what, f"{values[~(np.abs(scaled) < 2.0**63)][0]} among {len(values)} numbers")
    return scaled.astype(np.int64)


def magnitude_sums(values: NDArray[np.int64], starts: NDArray[np.intp], *, what: str) -> NDArray[np.int64]:
    """Exact sums of |values| over consecutive groups beginning at `starts`. Raises `DamagedData` when one leaves its range; while
    none does, neither does the sum of the values themselves."""
    magnitudes = np.abs(values)
    largest = np.add.reduceat(magnitudes.astype(np.float64), starts).max(initial=0.0)
    if largest >= 2.0**63:
        raise _unfit(what, f"a sum of {largest / SCALE:.3g}")
    return np.add.reduceat(magnitudes, starts)


def _unfit(what: str, found: str) -> DamagedData:
    return DamagedData(
        f"{what}: expected finite numbers whose sums stay within +-{RANGE:.2g}, got what does not fit: {found}. "
        "Trace the affected prompt set again; a neuron with such values should have been quarantined."
    )


def unsigned_zero(value: pl.Expr) -> pl.Expr:
    """The Float32 values with -0.0 as 0.0: which of the two is the smaller would depend on the order of rows.

    (Adding 0.0 would do, but the query planner takes that for a no-op.)
    """
    return pl.when(value != 0).then(value).otherwise(pl.lit(0.0, pl.Float32))


def as_float(column: str) -> pl.Expr:
    """A fixed-point column as Float64."""
    return pl.col(column).cast(pl.Float64) / SCALE


def collected(frame: pl.LazyFrame, *, what: str) -> pl.DataFrame:
    """Run a query that quantizes or sums; Int128 columns come back as Int64.

    Raises `DamagedData` when a value is NaN or infinite or a sum is out of range; `what` names the data in the message.
    """
    wide = [name for name, dtype in frame.collect_schema().items() if dtype == pl.Int128]
    try:
        return frame.with_columns(pl.col(wide).cast(pl.Int64)).collect(engine="streaming")
    except pl.exceptions.InvalidOperationError as error:
        raise _unfit(what, str(error)) from error


def total(frames: pl.LazyFrame, keys: tuple[str, ...], how: Mapping[str, str]) -> pl.LazyFrame:
    """Add up partial sums: one row per key, every other column combined as `how` says.

    The ways are `sum`, `min`, `max` and `absmax` (the value of largest magnitude, sign kept).
    """
    combined: list[pl.Expr] = []
    for name, way in how.items():
        column = pl.col(name)
        if way == "sum":
            combined.append(column.cast(pl.Int128).sum())
        elif way == "min":
            combined.append(column.min())
        elif way == "max":
            combined.append(column.max())
        else:
            combined.append(absmax(column))
    return frames.group_by(*keys).agg(combined)


def absmax(column: pl.Expr) -> pl.Expr:
    """The value of largest magnitude with its sign (positive on a tie), without depending on row order."""
    high, low = column.max(), column.min()
    return pl.when(high >= -low).then(high).otherwise(low)
