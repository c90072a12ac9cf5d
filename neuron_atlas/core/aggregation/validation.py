"""Do the static projections predict real activations? A rank correlation per neuron.

The input projection says what activation each token's embedding alone would cause. Over the tokens of a corpus that is compared
with the mean activation measured *on* each token, in context: Spearman's rho. High: the neuron reads the token under it. Near
zero: it reads context, and its input projection should not be believed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neuron_atlas.core.aggregation.activations import batches, read_texts, run
from neuron_atlas.core.aggregation.gated import normalised, responses
from neuron_atlas.core.ports import SubjectModel
from neuron_atlas.errors import BadInput

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]

AGREEMENT = pl.Schema(
    {
        "layer": pl.Int16(),
        "neuron": pl.Int32(),
        "side": pl.String(),
        "rank_correlation": pl.Float32(),
        "n_tokens": pl.Int32(),
    }
)
"""Columns of `projection_agreement`; rank_correlation is -1..1, missing where either side is constant."""


def projection_agreement(
    model: SubjectModel, texts: Sequence[str], *, min_count: int = 3, max_types: int = 2000, max_tokens: int = 256
) -> pl.DataFrame:
    """One row per neuron, side "input": Spearman's rho of predicted and measured activation over distinct tokens.

    Tokens seen at least `min_count` times count, the `max_types` most frequent of them (ties: lower id). Memory: 16 bytes per
    neuron and distinct token. Raises `BadInput` with fewer than 3 such tokens.
    """
    read = read_texts(model, texts, max_tokens=max_tokens)
    ids, counts = np.unique(np.array([i for t in read for i in t.token_ids], dtype=np.int64), return_counts=True)
    common = np.flatnonzero(counts >= min_count)
    kept = np.sort(common[np.argsort(-counts[common], kind="stable")[:max_types]])
    if len(kept) < 3:
        raise BadInput(
            f"expected at least 3 tokens that occur {min_count} times or more, got {len(kept)} in {len(texts)} texts; "
            "give more texts or lower min_count"
        )
    types = ids[kept]
    n_layers, n_neurons = model.spec.n_layers, model.spec.n_neurons
    sums = np.zeros((n_layers, len(types), n_neurons))
    for batch in batches(read):
        block = np.concatenate(list(run(model, batch)), axis=1)
        token = np.array([i for t in batch for i in t.token_ids])
        at = np.flatnonzero(np.isin(token, types))
        at = at[np.argsort(token[at], kind="stable")]
        if len(at):
            present, begin = np.unique(token[at], return_index=True)
            sums[:, np.searchsorted(types, present)] += np.add.reduceat(block[:, at], begin, axis=1, dtype=np.float64)
    measured = sums / counts[kept][None, :, None]
    vocab = model.vocab_weights()
    rows: list[pl.DataFrame] = []
    for layer in range(n_layers):
        mlp = model.mlp_weights(layer)
        predicted = responses(normalised(vocab.embedding[types], mlp), mlp).astype(np.float64)
        rho = spearman(predicted, measured[layer])
        rows.append(
            pl.DataFrame({"neuron": np.arange(n_neurons), "rank_correlation": rho})
            .with_columns(pl.col("rank_correlation").fill_nan(None), layer=pl.lit(layer), side=pl.lit("input"))
            .with_columns(n_tokens=pl.lit(len(types)))
            .select(list(AGREEMENT))
            .cast(AGREEMENT)
        )
    return pl.concat(rows)


def spearman(a: Floats, b: Floats) -> Floats:
    """Spearman's rho of every column of a with the same column of b, [n, columns] each; NaN where one is constant."""
    x, y = ranks(a), ranks(b)
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    scale = np.sqrt((x * x).sum(axis=0) * (y * y).sum(axis=0))
    constant = scale == 0
    return np.where(constant, np.nan, (x * y).sum(axis=0) / np.where(constant, 1, scale))


def ranks(values: Floats) -> Floats:
    """Rank of every entry within its column from 0; equal entries share their mean rank."""
    n = values.shape[0]
    order = np.argsort(values, axis=0, kind="stable")
    ordered = np.take_along_axis(values, order, axis=0)
    row: Ids = np.broadcast_to(np.arange(n, dtype=np.int64).reshape(-1, 1), values.shape)
    new = np.ones(values.shape, dtype=bool)
    new[1:] = ordered[1:] != ordered[:-1]
    first = np.maximum.accumulate(np.where(new, row, 0), axis=0)
    ends = np.ones(values.shape, dtype=bool)
    ends[:-1] = new[1:]
    last = np.minimum.accumulate(np.where(ends, row, n - 1)[::-1], axis=0)[::-1]
    out = np.empty(values.shape)
    np.put_along_axis(out, order, (first + last) / 2, axis=0)
    return out
