"""The edge sums of several prompt sets added, one row per edge, a range of sources at a time.

Grouping and sorting by the six columns of an edge's two ends costs more than all the adding. So each end becomes one integer, in
the order of its columns, and is taken apart again at the end. Ranges of sources come in order, so their rows put together
are sorted by source.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal

import polars as pl

from neuron_atlas.core.aggregation.graphs.edge_packing import EDGE_WAYS, unpack
from neuron_atlas.core.aggregation.graphs.fixed_point import collected, total

KINDS = ("embedding", "logit", "neuron")
"""Kinds of ends in the order of their names."""

EDGE_BYTES = 500
"""Memory per edge of one prompt set while it is added: 350 bytes measured, rounded up."""

_Side = Literal["source", "target"]


def added_edges(packed: pl.LazyFrame, *, order: tuple[_Side, _Side]) -> pl.DataFrame:
    """Unpacked sums, one row per edge, sorted by its ends in the given order, from rows of table `edge_sums`.

    Raises `DamagedData` when a sum leaves its range.
    """
    coded = unpack(packed).with_columns(**{f"{side}_end": _code(side) for side in order})
    keys = tuple(f"{side}_end" for side in order)
    added = collected(total(coded, keys, EDGE_WAYS), what="merged edge_sums").lazy().sort(keys)
    ends = {name: part for side in order for name, part in _columns(side).items()}
    return added.with_columns(**ends).drop(keys).collect()


def ranges_of_sources(packed: pl.LazyFrame, most: int) -> Iterator[pl.LazyFrame]:
    """The rows in parts of at most about `most` rows, in the order of their sources; those of one source stay together."""
    counts = packed.group_by(end=_code("source")).len().sort("end").collect(engine="streaming")
    part = (counts["len"].cum_sum() - 1) // max(most, 1)
    starts = counts["end"].filter(part != part.shift(1, fill_value=-1)).to_list()
    if len(starts) < 2:
        yield packed
        return
    for low, beyond in pairwise([*starts, 1 << 62]):
        yield packed.filter(_code("source").is_between(low, beyond, closed="left"))


def _code(side: _Side) -> pl.Expr:
    """Kind, layer (from -1) and number of an end in one integer."""
    kind = pl.col(f"{side}_kind").replace_strict(KINDS, range(len(KINDS)), return_dtype=pl.Int64)
    return (kind * 2**16 + pl.col(f"{side}_layer").cast(pl.Int64) + 1) * 2**32 + pl.col(side)


def _columns(side: _Side) -> dict[str, pl.Expr]:
    """The columns that `_code` was made of."""
    code = pl.col(f"{side}_end")
    upper = code // 2**32
    return {
        f"{side}_kind": (upper // 2**16).replace_strict(range(len(KINDS)), KINDS, return_dtype=pl.String),
        f"{side}_layer": (upper % 2**16 - 1).cast(pl.Int16),
        side: (code % 2**32).cast(pl.Int32),
    }
