"""The edges of a prompt set's graphs, summed into one row per pair of ends, positions dropped.

Edges outnumber everything else by far, so this file is written for speed. Nodes are held in memory; the edges of a
few prompts at a time find their ends by array index (node numbers are dense within a graph), not by a join, and become a 64-bit
key. Sorted by key, equal edges lie together, and every statistic is one pass of `reduceat`. An edge takes about 50 bytes while
it is sorted; where all of them would not fit, they are read several times, for a range of keys each time. Ranges come in the
order of the table, so the rows come out sorted. What stays is the result, about 115 bytes for each distinct edge.

**Flow.** An edge s -> t carries `weight / v_t * relevance_t` logits: the part of t's effect on the goal that came along it. For
a logit t that factor, the *slope*, is its weight in the goal. A neuron whose value is exactly 0 passes nothing on: flow 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neuron_atlas.core.aggregation.graphs.edge_packing import pack
from neuron_atlas.core.aggregation.graphs.fixed_point import fixed_points, magnitude_sums
from neuron_atlas.core.tables import EDGE_SUMS
from neuron_atlas.errors import DamagedData

CHUNK_EDGES = 1_000_000
"""Edges read at a time, about 50 bytes each (one prompt is never split)."""

SUMMED_EDGES = 250_000
"""Sorted edges summed at a time, about 200 bytes each (one key is never split)."""

EDGE_BYTES = 50
"""What an edge takes while it waits and is sorted (measured, see benchmarks/aggregation.py)."""


def sum_edges(
    traced: pl.DataFrame,
    nodes: pl.DataFrame,
    targets: pl.LazyFrame,
    edges: pl.LazyFrame,
    *,
    chunk: int = CHUNK_EDGES,
    memory_bytes: int = 2**30,
) -> pl.DataFrame:
    """Table `edge_sums` of one prompt set, in the order of its key.

    `traced`: prompt_id and n_edges (a hint for chunking), sorted by prompt_id. `nodes`: sorted by (prompt_id, node), prompt_id an
    enumeration in that order. `targets`, `edges`: tables of `raw_graphs`. `chunk` and `memory_bytes` (for the work, beside the
    result) change nothing else. Raises `DamagedData` when node numbers are not dense, an edge names a node or prompt that does not
    exist, or a number does not fit its sum.
    """
    ends, code, slope, start = _index(nodes, targets, traced["prompt_id"])
    n_ends = np.uint64(max(ends.height, 1))
    present = edges.select(pl.len()).collect().item()

    def located() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        seen = 0
        for first, last in _spans(traced, chunk):
            some = edges.filter(pl.col("prompt_id").is_between(pl.lit(first), pl.lit(last)))
            prompt, source, target, weight = _located(some, nodes["prompt_id"].dtype, start)
            seen += len(prompt)
            yield prompt, source, target, weight
        if present != seen:
            lost = present - seen
            raise DamagedData(f"{lost} of {present} edges belong to no traced prompt of this set; trace the set again")

    counts = np.zeros(ends.height, np.int64)
    if present > memory_bytes // EDGE_BYTES:
        for _, _, target, _ in located():
            counts += np.bincount(code[target].astype(np.int64), minlength=ends.height)
        bounds = _ranges(counts, memory_bytes // EDGE_BYTES)
    else:
        bounds = [0, ends.height]

    def rows(low: int, high: int) -> Rows:
        """The edges into ends low <= code < high."""
        every = high - low == ends.height
        size = present if every else int(counts[low:high].sum())
        kept = {name: np.empty(size, dtype) for name, dtype in _ROWS.items()}
        filled = 0
        for prompt, source, target, weight in located():
            end = code[target]
            mine = slice(None) if every else (end >= low) & (end < high)
            key = end[mine] * n_ends + code[source[mine]]
            part = slice(filled, filled := filled + len(key))
            for name, column in (("key", key), ("prompt", prompt), ("weight", weight), ("slope", slope[target])):
                kept[name][part] = column if name == "key" else column[mine]
        return kept

    parts = [
        _named(part, ends, int(n_ends))
        for low, high in pairwise(bounds)
        for part in _summed(rows(low, high), min(chunk, SUMMED_EDGES))
    ]
    return pl.concat(parts) if parts else EDGE_SUMS.empty()


_ROWS = {"key": "uint64", "prompt": "uint32", "weight": "float32", "slope": "float64"}
Rows = dict[str, np.ndarray]
"""These columns of edges, in the order of their prompts."""


def _named(sums: pl.DataFrame, ends: pl.DataFrame, n_ends: int) -> pl.DataFrame:
    """The sums with their ends' columns instead of `key`, in the table's order."""
    ends_of = {"source": sums["key"] % n_ends, "target": sums["key"] // n_ends}
    named = {
        f"{side}{suffix}": ends[column].gather(end)
        for side, end in ends_of.items()
        for suffix, column in (("_kind", "kind"), ("_layer", "layer"), ("", "id"))
    }
    return sums.drop("key").with_columns(**named).select(list(EDGE_SUMS.schema))


def _ranges(counts: NDArray[np.int64], most: int) -> list[int]:
    """Bounds of consecutive ranges of at most `most` together; an end with more edges is a range of its own."""
    bounds, held = [0], 0
    for end, count in enumerate(counts.tolist()):
        if held and held + count > most:
            bounds.append(end)
            held = 0
        held += count
    return [*bounds, len(counts)]


def _summed(rows: Rows, chunk: int) -> Iterator[pl.DataFrame]:
    """One row per key, in order, about `chunk` edges at a time: `key`, and the columns of table `edge_sums` beside the ends."""
    by_key = pl.DataFrame({"key": rows.pop("key")}).with_row_index("row").sort("key", maintain_order=True)
    key, order = by_key["key"].to_numpy(), by_key["row"].to_numpy()
    first = 0
    while first < len(key):
        last = min(first + chunk, len(key))
        while last < len(key) and key[last] == key[last - 1]:
            last += 1
        part = order[first:last]
        yield _reduced(key[first:last], rows["prompt"][part], rows["weight"][part], rows["slope"][part])
        first = last


def _reduced(key: np.ndarray, prompt: np.ndarray, weight: np.ndarray, slope: np.ndarray) -> pl.DataFrame:
    """One row per key from edges sorted by (key, prompt)."""
    first = np.concatenate([[True], key[1:] != key[:-1]])
    starts = np.flatnonzero(first)
    first[1:] |= prompt[1:] != prompt[:-1]
    weight = weight + np.float32(
        0
    )  # -0.0 becomes 0.0: which of the two is the smaller would depend on the order of rows
    slope = slope + 0.0
    wide = {
        "key": key[starts],
        "n": np.diff(starts, append=len(key)),
        "n_prompts": np.add.reduceat(first, starts, dtype=np.int64),
        "n_positive": np.add.reduceat(weight > 0, starts, dtype=np.int64),
        "weight_min": np.minimum.reduceat(weight, starts),
        "weight_max": np.maximum.reduceat(weight, starts),
        "slope_min": np.minimum.reduceat(slope, starts),
        "slope_max": np.maximum.reduceat(slope, starts),
    }
    exact = weight.astype(np.float64)
    for name, values in (("weight", exact), ("flow", exact * slope)):
        fixed = fixed_points(values, what="edges")
        wide[f"{name}_sum_q"] = np.add.reduceat(fixed, starts)
        wide[f"{name}_abs_sum_q"] = magnitude_sums(fixed, starts, what="edges")
    wide["weight_sq_sum_q"] = magnitude_sums(fixed_points(exact * exact, what="edges"), starts, what="edges")
    return pack(pl.LazyFrame(wide)).collect()


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
    """Prompt number, source and target (as rows of the node index), weight of every edge, in the order of their prompts."""
    try:
        some = edges.select(pl.col("prompt_id").cast(prompts).to_physical(), "source", "target", "weight").collect()
    except pl.exceptions.InvalidOperationError as error:
        raise DamagedData(f"an edge belongs to no traced prompt of this set: {error}") from error
    if not some["prompt_id"].is_sorted():  # prompts are separated by where one ends and the next begins
        some = some.sort("prompt_id", maintain_order=True)
    prompt = some["prompt_id"].to_numpy()
    begin, size = start[prompt], np.diff(start)[prompt]
    source, target = some["source"].to_numpy(), some["target"].to_numpy()
    lost = (source < 0) | (source >= size) | (target < 0) | (target >= size)
    if lost.any():
        raise DamagedData(
            f"{int(lost.sum())} edges name nodes that their graph does not have; trace the prompt set again"
        )
    return prompt, begin + source, begin + target, some["weight"].to_numpy()
