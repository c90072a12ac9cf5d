"""Ablation scores of cluster names: do the tokens of the name fall when the module is switched off?

On the prompts in which a module's members matter most, its neurons are set to zero at every position, and the fall of its
own tokens' logits (relative to the mean over the vocabulary) is compared with the fall when random sets are set to zero: as
many neurons of the same layers, drawn from the other neurons that appear in any graph. The **score** is the mean difference in
logits; its 95 % interval comes from resampling prompts and random sets. Above zero: the module carries these tokens more than
chance would. The random sets are matched in size and layer, not in how active they are on these prompts.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neuron_atlas.core.ports import SubjectModel
from neuron_atlas.core.records import Edit

_Neurons = NDArray[np.int64]

RESAMPLES = 1000
"""Bootstrap resamples behind an interval."""


@dataclass(frozen=True, slots=True)
class AblationBudget:
    """How much of the model's time the scores may take: forward passes in all, prompts and random sets per module."""

    passes: int = 2000
    prompts: int = 5
    random_sets: int = 6


@dataclass(frozen=True, slots=True)
class _Trial:
    """One prompt: token ids, and the position whose logits count."""

    token_ids: list[int]
    position: int


def ablation_scores(
    model: SubjectModel,
    modules: pl.DataFrame,
    members: pl.DataFrame,
    tokens: pl.DataFrame,
    *,
    appearances: pl.DataFrame,
    graphs: pl.DataFrame,
    budget: AblationBudget,
    seed: int,
) -> pl.DataFrame:
    """Score modules by ablation, level by level and most flow first, until the budget is spent.

    `modules`: path, level, flow; `members`: path, layer, neuron; `tokens`: path, token_id; `appearances`: table neuron_prompts;
    `graphs`: table graphs. Returns path, score, ci_low, ci_high (logits) of the modules tested: those with tokens, prompts,
    and enough other neurons to draw from. An interval needs two prompts.
    """
    pool = appearances.select("layer", "neuron").unique().sort("layer", "neuron")
    texts = (
        graphs.drop_nulls(["token_ids", "position"])
        .unique(subset="prompt_id", keep="first", maintain_order=True)
        .select("prompt_id", "token_ids", "position")
    )
    rows: list[tuple[str, float, float | None, float | None]] = []
    left = budget.passes
    for path in modules.sort("level", "flow", "path", descending=[False, True, False])["path"].to_list():
        inside = members.filter(pl.col("path") == path).select("layer", "neuron")
        wanted = tokens.filter(pl.col("path") == path)["token_id"].to_numpy()
        trials = _trials(inside, appearances, texts, n=budget.prompts)
        cost = len(trials) * (2 + budget.random_sets)
        if not len(wanted) or not trials:
            continue
        if cost > left:
            break
        rng = np.random.default_rng([seed, zlib.crc32(str(path).encode())])
        others = _random_sets(inside, pool, n_neurons=model.spec.n_neurons, n=budget.random_sets, rng=rng)
        if not others:
            continue
        left -= cost
        own = _as_array(inside)
        differences = np.stack([_differences(model, trial, own, others, wanted) for trial in trials])
        low, high = _interval(differences, rng=rng)
        rows.append((str(path), float(differences.mean()), low, high))
    schema = {"path": pl.String, "score": pl.Float32, "ci_low": pl.Float32, "ci_high": pl.Float32}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _trials(inside: pl.DataFrame, appearances: pl.DataFrame, texts: pl.DataFrame, *, n: int) -> list[_Trial]:
    """The prompts in whose graphs the members matter most, by summed |relevance|."""
    best = (
        appearances.join(inside, on=["layer", "neuron"])
        .unique(subset=["layer", "neuron", "prompt_id"], keep="first", maintain_order=True)
        .group_by("prompt_id")
        .agg(matters=pl.col("relevance").abs().cast(pl.Float64).sort().sum())
        .join(texts, on="prompt_id")
        .sort(pl.col("matters").round(9), "prompt_id", descending=[True, False])
        .head(n)
    )
    return [_Trial(list(ids), int(at)) for ids, at in best.select("token_ids", "position").iter_rows()]


def _random_sets(
    inside: pl.DataFrame, pool: pl.DataFrame, *, n_neurons: int, n: int, rng: np.random.Generator
) -> list[_Neurons]:
    """`n` sets of as many other neurons per layer, from the pool, or from the whole layer where the pool is too small.

    Empty when a layer has too few other neurons.
    """
    drawn: list[list[_Neurons]] = [[] for _ in range(n)]
    for layer, size in inside.group_by("layer").len().sort("layer").iter_rows():
        own = inside.filter(pl.col("layer") == layer)["neuron"].to_numpy()
        seen = np.setdiff1d(pool.filter(pl.col("layer") == layer)["neuron"].to_numpy(), own)
        choice = seen if len(seen) >= size else np.setdiff1d(np.arange(n_neurons), own)
        if len(choice) < size:
            return []
        for one in drawn:
            picked = np.sort(rng.choice(choice, size=size, replace=False)).astype(np.int64)
            one.append(np.column_stack([np.full(size, layer, np.int64), picked]))
    return [np.concatenate(one) for one in drawn]


def _differences(
    model: SubjectModel, trial: _Trial, own: _Neurons, others: Sequence[_Neurons], wanted: NDArray[np.int64]
) -> NDArray[np.float64]:
    """How much further the wanted tokens fall without the module than without each random set, in logits [sets]."""
    edits = [_switched_off(own), *(_switched_off(one) for one in others)]
    logits = model.logits(trial.token_ids, edits=[(), *edits], position=trial.position).astype(np.float64)
    relative = logits[:, wanted].mean(axis=1) - logits.mean(axis=1)
    falls = relative[0] - relative[1:]
    return falls[0] - falls[1:]


def _switched_off(neurons: _Neurons) -> list[Edit]:
    return [Edit(layer=int(layer), neuron=int(neuron), value=0.0) for layer, neuron in neurons]


def _interval(differences: NDArray[np.float64], *, rng: np.random.Generator) -> tuple[float | None, float | None]:
    """The 95 % interval of the mean of [prompts, sets], both resampled; None with a single prompt."""
    prompts, sets = differences.shape
    if prompts < 2:
        return None, None
    rows = rng.integers(prompts, size=(RESAMPLES, prompts))
    columns = rng.integers(sets, size=(RESAMPLES, sets))
    means = differences[rows[:, :, None], columns[:, None, :]].mean(axis=(1, 2))
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _as_array(neurons: pl.DataFrame) -> _Neurons:
    return neurons.select("layer", "neuron").to_numpy().astype(np.int64)
