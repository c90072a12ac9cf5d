"""Bootstrap over prompts: the edges of as many prompts of every prompt set, drawn with replacement (Efron 1979).

All edges of a prompt come and go together, so resampling prompts shows what other prompts of the same kind might have given.
`PromptDraws` keeps what each prompt adds to each edge: exact, and cheap enough that a draw is a weighted sum (about 40 bytes for
each edge of each graph). With more than `MAX_EDGES` edges, or without the graphs, links are redrawn one by one instead
(`redraw_links` in `stability.py`); table `cluster_runs` says which it was.

A prompt drawn twice counts twice, as two prompts of this kind would. So an edge that only one prompt shows may pass the threshold
on prompts, and one that two prompts show may fail it: the threshold is part of what is tested.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neuron_atlas.core.records import Tables

MAX_EDGES = 50_000_000
"""Edges in all graphs up to which every prompt's share is kept (2 GB)."""

_Floats: TypeAlias = NDArray[np.float64]
_Ints: TypeAlias = NDArray[np.int64]
_ENDS = ("source_layer", "source", "target_layer", "target")


@dataclass(frozen=True)
class PromptDraws:
    """What every prompt adds to every edge between neurons.

    `edges` has the ends of every edge in key order. The arrays hold one entry per edge and prompt, sorted by edge; entries of
    edge i begin at `first[i]`. `prompt` numbers prompts from 0; `sums` [entries, 4] are instances and the sums of weight,
    |weight| and |flow|. `sets` has one row per prompt and prompt set it is in: columns prompt (number), prompt_set.
    """

    edges: pl.DataFrame
    first: _Ints
    prompt: _Ints
    sums: _Floats
    sets: pl.DataFrame
    n_prompts: int

    def draw(self, rng: np.random.Generator) -> pl.DataFrame:
        """The edges of as many prompts, drawn with replacement within every prompt set."""
        times = np.zeros(self.n_prompts, np.int64)
        for _, members in self.sets.group_by("prompt_set", maintain_order=True):
            own = members["prompt"].to_numpy()
            times += np.bincount(rng.choice(own, len(own)), minlength=self.n_prompts)
        return self.weighted(times)

    def weighted(self, times: _Ints) -> pl.DataFrame:
        """The edges when prompt i counts `times[i]` times: columns of `neuron_edges` but weight_std, only edges that occur."""
        if not len(self.first):
            return self.edges.with_columns(pl.lit(0.0).alias(c) for c in _NUMBERS)
        weight = times[self.prompt].astype(np.float64)
        n_prompts = np.add.reduceat(weight, self.first)
        n, total, size, flow = np.add.reduceat(self.sums * weight[:, None], self.first).T
        count = np.maximum(n, 1.0)
        return self.edges.with_columns(
            n=pl.Series(n),
            n_prompts=pl.Series(n_prompts),
            weight_mean=pl.Series(total / count),
            weight_abs_mean=pl.Series(size / count),
            flow_abs_mean=pl.Series(flow / count),
        ).filter(pl.col("n") > 0)


_NUMBERS = ("n", "n_prompts", "weight_mean", "weight_abs_mean", "flow_abs_mean")


def prompt_draws(graphs: Tables, *, max_edges: int = MAX_EDGES) -> PromptDraws | None:
    """Prepare redrawing prompts from the tables of `raw_graphs`; None with more than `max_edges` edges or without the tables.

    A prompt of several prompt sets is drawn in each; its nodes and edges may be given once or once for each set.
    """
    if not {"graphs", "nodes", "edges"} <= set(graphs):
        return None
    if graphs["edges"].select(pl.len()).collect().item() > max_edges:
        return None
    traced = (
        graphs["graphs"]
        .filter(pl.col("reason").is_null())
        .select("prompt_set", "prompt_id")
        .unique()
        .sort(pl.all())
        .collect()
    )
    prompts = traced.select("prompt_id").unique().sort("prompt_id").with_row_index("prompt")
    added = _added(graphs, prompts).sort(*_ENDS, "prompt")
    edges = added.select(_ENDS).with_row_index("entry").unique(_ENDS, keep="first", maintain_order=True)
    return PromptDraws(
        edges=edges.drop("entry"),
        first=edges["entry"].to_numpy().astype(np.int64),
        prompt=added["prompt"].to_numpy().astype(np.int64),
        sums=added.select("n", "weight", "size", "flow").to_numpy(),
        sets=traced.join(prompts, on="prompt_id").select("prompt", "prompt_set").sort("prompt_set", "prompt"),
        n_prompts=prompts.height,
    )


def _added(graphs: Tables, prompts: pl.DataFrame) -> pl.DataFrame:
    """One row per edge between neurons and prompt: ends, prompt, n, weight, size, flow (sums over positions, Float64)."""
    value, relevance = pl.col("activation").cast(pl.Float64), pl.col("relevance").cast(pl.Float64)
    nodes = (
        graphs["nodes"]
        .filter(pl.col("kind") == "neuron")
        .join(prompts.lazy(), on="prompt_id")
        .select("prompt", "node", "layer", "neuron", slope=pl.when(value != 0).then(relevance / value).otherwise(0.0))
        .unique(["prompt", "node"], keep="first")
    )
    weight = pl.col("weight").cast(pl.Float64)
    return (
        graphs["edges"]
        .join(prompts.lazy(), on="prompt_id")
        .select("prompt", "source", "target", weight)
        .unique(["prompt", "source", "target"], keep="first")
        .join(nodes.drop("slope"), left_on=["prompt", "source"], right_on=["prompt", "node"])
        .join(nodes, left_on=["prompt", "target"], right_on=["prompt", "node"], suffix="_target")
        .group_by(
            "prompt",
            source_layer="layer",
            source="neuron",
            target_layer="layer_target",
            target="neuron_target",
        )
        .agg(
            n=pl.len().cast(pl.Float64),
            weight=pl.col("weight").sort().sum(),
            size=pl.col("weight").abs().sort().sum(),
            flow=(pl.col("weight") * pl.col("slope")).abs().sort().sum(),
        )
        .collect()
    )
