"""The fingerprint sees values, not how they lie in memory."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st

from neuron_atlas.core.hashing import frame_hash, frames_hash

# Zeros are positive here: polars holds -0.0 equal to 0.0, the fingerprint keeps them apart.
ROWS = st.lists(
    st.tuples(
        st.integers(-5, 5) | st.none(),
        st.text(max_size=4) | st.none(),
        st.lists(st.floats(-2, 2, width=32).map(lambda x: x + 0.0), max_size=3) | st.none(),
        st.booleans() | st.none(),
    ),
    max_size=6,
)
SCHEMA = {"a": pl.Int32, "b": pl.String, "c": pl.List(pl.Float32), "d": pl.Boolean}


@given(ROWS, st.integers(0, 6))
def test_chunking_and_storage_do_not_matter(rows: list[tuple[object, ...]], cut: int) -> None:
    whole = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    pieces = pl.concat([whole.head(cut), whole.slice(cut)], rechunk=False)
    assert frame_hash(pieces) == frame_hash(whole)
    assert frame_hash(pl.from_arrow(whole.to_arrow())) == frame_hash(whole)  # pyright: ignore[reportArgumentType]


@given(ROWS, ROWS)
@example([(None, "", None, None)], [(None, "", None, True)])
def test_other_rows_have_another_hash(one: list[tuple[object, ...]], two: list[tuple[object, ...]]) -> None:
    a, b = (pl.DataFrame(rows, schema=SCHEMA, orient="row") for rows in (one, two))
    assert (frame_hash(a) == frame_hash(b)) == a.equals(b)


def test_names_count() -> None:
    frame = pl.DataFrame({"a": [1]})
    assert frame_hash(frame) != frame_hash(frame.rename({"a": "b"}))
    assert frames_hash({"x": frame}) != frames_hash({"y": frame})
    assert frames_hash({"x": frame, "y": frame}) == frames_hash({"y": frame, "x": frame})


def test_one_nan_is_as_good_as_another() -> None:
    plus, minus = (pl.DataFrame({"a": np.array([1.0, np.copysign(np.nan, sign)])}) for sign in (1.0, -1.0))
    assert frame_hash(plus) == frame_hash(minus)
