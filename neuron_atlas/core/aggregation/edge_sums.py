"""Edges of many graphs become one row per pair of ends, positions dropped.

Edges outnumber everything else by far, so this is the one place written for speed. Nodes are held in memory; the edges of a
few prompts at a time find their ends by array index (node numbers are dense within a graph), not by a join, and flow through one
grouping by a 64-bit key. Grouping takes about 400 bytes for each distinct edge, so very many edges are read several times, for a
share of the keys each time; what stays is about 90 bytes for each.

**Flow.** An edge s -> t carries `weight / v_t * relevance_t` logits: the part of t's effect on the goal that came along it. For
a logit t that factor is its weight in the goal. A neuron whose value is exactly 0 passes nothing on: flow 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from neuron_atlas.core.aggregation.fixed_point import collected, quantized, unsigned_zero
from neuron_atlas.errors import DamagedData

CHUNK_EDGES = 1_000_000
"""Edges read at a time, about 50 bytes each (one prompt is never split)."""

GROUPED_EDGES = 32_000_000
"""Edges grouped together; for more there is one pass over them for every so many."""

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
}
"""How each column of `edge_sums` is combined when parts merge."""


def sum_edges(
    traced: pl.DataFrame,
    nodes: pl.DataFrame,
    targets: pl.LazyFrame,
    edges: pl.LazyFrame,
    *,
    chunk: int = CHUNK_EDGES,
    grouped: int = GROUPED_EDGES,
) -> pl.DataFrame:
    """Table `edge_sums` (unsorted) of one prompt set.

    `traced`: prompt_id and n_edges (a hint for chunking), sorted by prompt_id. `nodes`: sorted by (prompt_id, node), prompt_id an
    enumeration in that order. `targets`, `edges`: tables of `raw_graphs`. `chunk` and `grouped` bound memory and change nothing
    else. Raises `DamagedData` when node numbers are not dense or an edge names a node or prompt that does not exist.
    """
    ends, code, slope, start = _index(nodes, targets, traced["prompt_id"])
    n_ends = max(ends.height, 1)
    present = edges.select(pl.len()).collect().item()
    passes = max(1, -(-present // grouped))

    def rows(share: int) -> Iterator[pl.DataFrame]:
        seen = 0
        for first, last in _spans(traced, chunk):
            some = edges.filter(pl.col("prompt_id").is_between(pl.lit(first), pl.lit(last)))
            prompt, source, target, weight = _located(some, nodes["prompt_id"].dtype, start)
            seen += len(prompt)
            flow = weight.astype(np.float64) * slope[target]
            columns = {
                "key": code[source] * np.uint64(n_ends) + code[target],
                "prompt": prompt,
                "weight": weight,
                "flow": flow,
            }
            if passes > 1:
                mine = columns["key"] % np.uint64(passes) == share
                columns = {name: column[mine] for name, column in columns.items()}
            yield pl.DataFrame(columns, schema=_ROWS)
        if present != seen:
            lost = present - seen
            raise DamagedData(f"{lost} of {present} edges belong to no traced prompt of this set; trace the set again")

    sums = pl.concat(collected(_grouped(_streamed(rows, share)), what="edges") for share in range(passes))
    source_end, target_end = sums["key"] // n_ends, sums["key"] % n_ends
    named = {
        f"{side}{suffix}": ends[column].gather(end)
        for side, end in (("source", source_end), ("target", target_end))
        for suffix, column in (("_kind", "kind"), ("_layer", "layer"), ("", "id"))
    }
    return pl.DataFrame(named).hstack(sums.drop("key"))


_ROWS = pl.Schema({"key": pl.UInt64(), "prompt": pl.UInt32(), "weight": pl.Float32(), "flow": pl.Float64()})


def _streamed(rows: Callable[[int], Iterator[pl.DataFrame]], share: int) -> pl.LazyFrame:
    """The rows of one share of the keys as a query's source, so that they are grouped as they are read."""

    def read(
        columns: list[str] | None, _predicate: pl.Expr | None, _n_rows: int | None, _batch: int | None
    ) -> Iterator[pl.DataFrame]:
        for frame in rows(share):
            yield frame if columns is None else frame.select(columns)

    return register_io_source(read, schema=_ROWS)


def _grouped(rows: pl.LazyFrame) -> pl.LazyFrame:
    weight = pl.col("weight").cast(pl.Float64)
    return (
        rows.with_columns(unsigned_zero(pl.col("weight")))
        .group_by("key")
        .agg(
            n=pl.len().cast(pl.Int64),
            n_prompts=pl.col("prompt").n_unique().cast(pl.Int64),
            n_positive=(pl.col("weight") > 0).sum().cast(pl.Int64),
            weight_sum_q=quantized(weight).sum(),
            weight_abs_sum_q=quantized(weight.abs()).sum(),
            weight_sq_sum_q=quantized(weight * weight).sum(),
            flow_sum_q=quantized(pl.col("flow")).sum(),
            flow_abs_sum_q=quantized(pl.col("flow").abs()).sum(),
            weight_min=pl.col("weight").min(),
            weight_max=pl.col("weight").max(),
        )
    )


def _index(
    nodes: pl.DataFrame, targets: pl.LazyFrame, prompts: pl.Series
) -> tuple[pl.DataFrame, np.ndarray, np.ndarray, np.ndarray]:
    """What an edge needs of its ends: the distinct ends, and per node its end's row, its slope (goal per unit of its value),
    with the first node of every prompt [prompts + 1]."""
    weights = targets.select(pl.col("prompt_id").cast(pl.Enum(prompts)), "node", "goal_weight").collect()
    value, relevance = pl.col("activation").cast(pl.Float64), pl.col("relevance").cast(pl.Float64)
    slope = pl.coalesce(pl.col("goal_weight").cast(pl.Float64), pl.when(value != 0).then(relevance / value), 0.0)
    ended = nodes.with_columns(id=pl.coalesce("neuron", "token_id")).join(
        weights, on=("prompt_id", "node"), how="left", maintain_order="left"
    )
    ends = ended.select("kind", "layer", "id").unique().sort("kind", "layer", "id").with_row_index("end")
    located = ended.join(ends, on=("kind", "layer", "id"), how="left", maintain_order="left").select("end", slope=slope)
    owner = nodes["prompt_id"].to_physical().to_numpy()
    start = np.searchsorted(owner, np.arange(len(prompts) + 1))
    if not np.array_equal(nodes["node"].to_numpy(), np.arange(nodes.height) - start[owner]):
        raise DamagedData(
            "node numbers are not dense within their graph; expected 0, 1, 2 … per prompt; trace the set again"
        )
    return ends, located["end"].to_numpy().astype(np.uint64), located["slope"].to_numpy(), start


def _spans(traced: pl.DataFrame, chunk: int) -> Iterator[tuple[str, str]]:
    """First and last prompt_id of each run of prompts holding at most `chunk` edges together."""
    first, held, last = "", 0, ""
    for prompt, size in traced.select("prompt_id", pl.col("n_edges").fill_null(0)).iter_rows():
        if first and held + size > chunk:
            yield first, last
            first, held = "", 0
        first, held, last = first or prompt, held + size, prompt
    if first:
        yield first, last


def _located(
    edges: pl.LazyFrame, prompts: pl.DataType, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Prompt number, source and target (as rows of the node index), weight of every edge."""
    try:
        some = edges.select(pl.col("prompt_id").cast(prompts).to_physical(), "source", "target", "weight").collect()
    except pl.exceptions.InvalidOperationError as error:
        raise DamagedData(f"an edge belongs to no traced prompt of this set: {error}") from error
    prompt = some["prompt_id"].to_numpy()
    begin, size = start[prompt], np.diff(start)[prompt]
    source, target = some["source"].to_numpy(), some["target"].to_numpy()
    lost = (source < 0) | (source >= size) | (target < 0) | (target >= size)
    if lost.any():
        raise DamagedData(
            f"{int(lost.sum())} edges name nodes that their graph does not have; trace the prompt set again"
        )
    return prompt, begin + source, begin + target, some["weight"].to_numpy()
