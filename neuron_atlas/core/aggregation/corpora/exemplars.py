"""Exemplars: the texts that show a neuron. Those in which it is active with the largest peaks, others at random, and near misses.

A **near miss** (hard negative) holds a token on which the neuron peaked in one of its top texts, yet it stays below its threshold
there: a label that only names the token fails on it. Texts are drawn by seed; the draw does not depend on the batches
the corpus came in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neuron_atlas.core.ports import Array

Ids = NDArray[np.int64]
Fetch = Callable[[Sequence[int]], Iterator[Array]]
"""Activations [L, tokens, I] of the texts asked for, in order."""

POLARITIES = (1, -1)
_OWNER = ["layer", "neuron", "polarity"]


@dataclass(frozen=True)
class ExemplarPlan:
    """How many random texts and near misses to find per neuron and polarity, drawn by `seed`."""

    n_random: int
    n_hard: int
    seed: int


class TopTexts:
    """Running top texts of [L, I] neurons by peak, one list per polarity; of equal peaks the earlier text stays ahead."""

    def __init__(self, shape: tuple[int, int], k: int) -> None:
        layers, neurons = shape
        self.k = k
        self.n_texts = 0
        self.peaks = {sign: np.zeros((layers, 0, neurons), np.float32) for sign in POLARITIES}
        self.texts = {sign: np.zeros((layers, 0, neurons), np.int64) for sign in POLARITIES}

    def add(self, block: Array, lengths: Sequence[int]) -> None:
        """Activations [L, tokens, I] of consecutive texts with these numbers of tokens."""
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        layers, _, neurons = block.shape
        new = np.broadcast_to((self.n_texts + np.arange(len(lengths)))[None, :, None], (layers, len(lengths), neurons))
        for sign in POLARITIES:
            extreme = np.maximum if sign > 0 else np.minimum
            peaks = np.concatenate([self.peaks[sign], extreme.reduceat(block, starts, axis=1)], axis=1)
            texts = np.concatenate([self.texts[sign], new], axis=1)
            order = np.argsort(-sign * peaks, axis=1, kind="stable")[:, : self.k]
            self.peaks[sign] = np.take_along_axis(peaks, order, axis=1)
            self.texts[sign] = np.take_along_axis(texts, order, axis=1)
        self.n_texts += len(lengths)

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything kept so far."""
        lists = {f"{name}{sign}": getattr(self, name)[sign] for name in ("peaks", "texts") for sign in POLARITIES}
        return lists | {"n_texts": np.array(self.n_texts)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from what `state` returned."""
        self.peaks, self.texts = ({sign: state[f"{name}{sign}"] for sign in POLARITIES} for name in ("peaks", "texts"))
        self.n_texts = int(state["n_texts"])

    def rows(self, thresholds: Array) -> pl.DataFrame:
        """One row per neuron, polarity and top text in which its peak exceeds its threshold [L, I], best first."""
        parts: list[pl.DataFrame] = []
        for sign in POLARITIES:
            layer, rank, neuron = np.nonzero(sign * self.peaks[sign] > thresholds[:, None, :])
            columns = {"layer": layer, "neuron": neuron, "rank": rank, "text": self.texts[sign][layer, rank, neuron]}
            parts.append(pl.DataFrame(columns).with_columns(polarity=pl.lit(sign, pl.Int64), kind=pl.lit("top")))
        return pl.concat(parts).sort(*_OWNER, "rank")


def choose_exemplars(
    top: TopTexts, token_ids: Sequence[Sequence[int]], thresholds: Array, fetch: Fetch, plan: ExemplarPlan
) -> pl.DataFrame:
    """Columns layer, neuron, polarity, kind, rank, text, activations, peak_position, peak_activation.

    `thresholds` [L, I] say above which |activation| a neuron counts as active; a top text must reach it, so a neuron that is active
    in three texts has three. A polarity in which it never is has no rows.
    """
    rng = np.random.default_rng(plan.seed)
    best = _fetched(top.rows(thresholds), fetch)
    others = pl.concat([_random(best, top.n_texts, plan, rng), _near(best, token_ids, plan, rng)])
    others = others.join(best, on=[*_OWNER, "text"], how="anti", maintain_order="left")
    fetched = _fetched(others.unique([*_OWNER, "kind", "text"], keep="first", maintain_order=True), fetch)
    threshold = pl.Series(thresholds[fetched["layer"].to_numpy(), fetched["neuron"].to_numpy()], dtype=pl.Float32)
    quiet = pl.col("peak_activation") * pl.col("polarity") <= threshold
    wanted = pl.when(pl.col("kind") == "random").then(plan.n_random).otherwise(plan.n_hard)
    kept = (
        fetched.filter((pl.col("kind") == "random") | quiet)
        .with_columns(rank=pl.int_range(pl.len()).over(*_OWNER, "kind"))
        .filter(pl.col("rank") < wanted)
    )
    return pl.concat([best, kept.select(best.columns)])


def _random(best: pl.DataFrame, n_texts: int, plan: ExemplarPlan, rng: np.random.Generator) -> pl.DataFrame:
    """Twice as many draws as wanted: some will be top texts or repeats."""
    owners = best.select(_OWNER).unique(maintain_order=True)
    return _drawn(owners, rng.integers(0, n_texts, (owners.height, 2 * plan.n_random)), "random")


def _near(
    best: pl.DataFrame, token_ids: Sequence[Sequence[int]], plan: ExemplarPlan, rng: np.random.Generator
) -> pl.DataFrame:
    """Draws among texts that hold a token on which the neuron peaked: first one of its top texts, then a text with its peak token.

    Three times as many as wanted: in many the neuron will fire.
    """
    pairs = np.array(sorted({(token, text) for text, ids in enumerate(token_ids) for token in ids}), dtype=np.int64)
    tokens, texts = pairs.reshape(-1, 2).T
    peaks = best.select("text", "peak_position").iter_rows()
    peak_token = np.array([token_ids[text][position] for text, position in peaks], dtype=np.int64)
    owners = best.group_by(_OWNER, maintain_order=True).len()
    size = owners["len"].to_numpy().astype(np.int64)[:, None]
    first = np.cumsum(size, axis=0) - size
    uniform = rng.random((2, owners.height, 3 * plan.n_hard))
    token = peak_token[first + (uniform[0] * size).astype(np.int64)]
    begin, end = np.searchsorted(tokens, token), np.searchsorted(tokens, token, side="right")
    return _drawn(owners, texts[begin + (uniform[1] * (end - begin)).astype(np.int64)], "hard_negative")


def _drawn(owners: pl.DataFrame, draws: Ids, kind: str) -> pl.DataFrame:
    """One row per owner and drawn text [owners, draws], in order of the draw."""
    repeated = owners.select(_OWNER)[np.repeat(np.arange(owners.height), draws.shape[1])]
    return repeated.with_columns(
        kind=pl.lit(kind), rank=pl.lit(0, pl.Int64), text=pl.Series(draws.ravel(), dtype=pl.Int64)
    )


def _fetched(rows: pl.DataFrame, fetch: Fetch) -> pl.DataFrame:
    """The rows with their activation at every token, and where and how high it peaks in the row's polarity."""
    text = rows["text"].to_numpy()
    order = np.argsort(text, kind="stable")
    distinct, starts = np.unique(text[order], return_index=True)
    members = np.split(order, starts[1:]) if len(distinct) else []
    layer, neuron, polarity = (rows[c].to_numpy() for c in _OWNER)
    activations = [pl.Series([], dtype=pl.List(pl.Float32))]
    position, peak = np.zeros(rows.height, np.int64), np.zeros(rows.height, np.float32)
    for own, block in zip(members, fetch(distinct.tolist()), strict=True):
        values = block[layer[own], :, neuron[own]]
        position[own] = np.argmax(polarity[own, None] * values, axis=1)
        peak[own] = values[np.arange(len(own)), position[own]]
        activations.append(pl.Series(values).cast(pl.List(pl.Float32)))
    back = np.empty(rows.height, np.int64)
    back[order] = np.arange(rows.height)
    return rows.with_columns(
        activations=pl.concat(activations).gather(back),
        peak_position=pl.Series(position),
        peak_activation=pl.Series(peak),
    )
