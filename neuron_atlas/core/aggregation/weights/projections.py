"""Projections: which tokens a neuron promotes and which would drive it, from the weights alone.

**Output.** A neuron adds its activation times its decoder column W_d[:, n] to the stream, and the final norm multiplies every
coordinate by a positive scale common to all (frozen) and by its weight g. So a unit of activation moves the logits by
W_U (g * P W_d[:, n]), at unit final-norm scale; P centres for LayerNorm. Softmax ignores what all logits share, so the mean over
the vocabulary is taken off: without that, rows that merely have large norms in the common direction fill the lists. A post-norm
weight, where the model has one, scales the decoder column first.

**Input.** The embedding of a token passes the MLP's own input norm and the full formula `f(gate) * up` (see `mlp_formula.py`): the
activation the neuron would have if the stream held that token and nothing else. Positions and attention are left out. Using
`up` alone, or the raw embedding, ranks other tokens.

Both stream over the vocabulary in chunks, so the [V, I] matrix is never held: memory is a few times `CHUNK_BYTES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neuron_atlas.core.aggregation.readable_tokens import TokenDecoder, token_texts
from neuron_atlas.core.aggregation.weights.mlp_formula import normalised, responses
from neuron_atlas.core.ports import Array, MlpWeights, VocabWeights
from neuron_atlas.core.records import Frames
from neuron_atlas.core.tables import INPUT_PROJECTIONS, OUTPUT_PROJECTIONS

CHUNK_BYTES = 64 * 2**20
"""Size of one [tokens, I] block of scores."""

Ids = NDArray[np.int64]


def output_directions(mlp: MlpWeights, vocab: VocabWeights) -> Array:
    """What a unit of every neuron's activation adds to the stream as the unembedding reads it, at unit norm scales: [D, I] with
    g * P W_d."""
    return normed(mlp.down if mlp.post_norm is None else mlp.down * mlp.post_norm[:, None], vocab)


def project_outputs(mlp: MlpWeights, vocab: VocabWeights, *, token_text: TokenDecoder, k: int = 20) -> Frames:
    """Table `output_projections` of one layer: the `k` most promoted and most suppressed tokens of every neuron."""
    folded = output_directions(mlp, vocab)
    common = vocab.unembedding.mean(axis=0, dtype=np.float64).astype(np.float32) @ folded

    def scores(first: int, last: int) -> Array:
        return vocab.unembedding[first:last] @ folded - common

    rows = _extremes(scores, n_tokens=vocab.unembedding.shape[0], n_neurons=mlp.down.shape[1], k=k)
    frame = _frame(mlp.layer, rows, token_text, value="weight")
    neuron, token = frame["neuron"].to_numpy(), frame["token_id"].to_numpy()
    raw = _dots(vocab.unembedding, token, mlp.down, neuron)
    norms = np.linalg.norm(mlp.down, axis=0)
    frame = frame.with_columns(weight_raw=pl.Series(raw), output_norm=pl.Series(norms[neuron]))
    return {OUTPUT_PROJECTIONS.name: OUTPUT_PROJECTIONS.checked(frame)}


def normed(stream: Array, vocab: VocabWeights) -> Array:
    """Columns [D, n] of the stream as they pass the final norm at unit scale: centred for LayerNorm, then weighted.

    W_U diag(g) P = W_U diag(g) - (W_U g / D) 1^T, so centring the column comes first.
    """
    centred = stream - stream.mean(axis=0) if vocab.final_norm_kind == "layer" else stream
    return centred * vocab.final_norm[:, None]


def project_inputs(mlp: MlpWeights, vocab: VocabWeights, *, token_text: TokenDecoder, k: int = 20) -> Frames:
    """Table `input_projections` of one layer: the `k` tokens that drive every neuron furthest up and furthest down."""

    def scores(first: int, last: int) -> Array:
        return responses(normalised(vocab.embedding[first:last], mlp), mlp)

    rows = _extremes(scores, n_tokens=vocab.embedding.shape[0], n_neurons=mlp.up.shape[0], k=k)
    frame = _frame(mlp.layer, rows, token_text, value="response")
    return {INPUT_PROJECTIONS.name: INPUT_PROJECTIONS.checked(frame)}


def _extremes(
    scores: Callable[[int, int], Array], *, n_tokens: int, n_neurons: int, k: int
) -> Iterator[tuple[int, Ids, Array]]:
    """For direction +1 and -1: token ids [k, I] and scores [k, I], best first; equal scores in order of token id."""
    k = min(k, n_tokens)
    size = max(k, CHUNK_BYTES // (4 * n_neurons))
    best = {sign: (np.zeros((0, n_neurons), np.int64), np.zeros((0, n_neurons), np.float32)) for sign in (1, -1)}
    for first in range(0, n_tokens, size):
        block = scores(first, min(first + size, n_tokens))
        for sign, (ids, values) in best.items():
            top = _top(sign * block, k)
            ids = np.concatenate([ids, top + first])
            values = np.concatenate([values, np.take_along_axis(block, top, axis=0)])
            keep = np.argsort(-sign * values, axis=0, kind="stable")[:k]
            best[sign] = np.take_along_axis(ids, keep, axis=0), np.take_along_axis(values, keep, axis=0)
    for sign, (ids, values) in best.items():
        yield sign, ids, values


def _top(block: Array, k: int) -> Ids:
    """Rows [<= k, I] of the k largest entries of every column, in order of row."""
    if block.shape[0] <= k:
        return np.broadcast_to(np.arange(block.shape[0], dtype=np.int64).reshape(-1, 1), block.shape)
    return np.sort(np.argpartition(-block, k - 1, axis=0)[:k], axis=0)


def _frame(layer: int, rows: Iterator[tuple[int, Ids, Array]], token_text: TokenDecoder, *, value: str) -> pl.DataFrame:
    """Long form; a score on the wrong side of zero is not listed (a ReLU neuron has nothing that drives it down)."""
    parts: list[pl.DataFrame] = []
    for direction, ids, values in rows:
        k, n = ids.shape
        long = pl.DataFrame(
            {
                "neuron": np.tile(np.arange(n, dtype=np.int32), k),
                "rank": np.repeat(np.arange(k, dtype=np.int16), n),
                "token_id": ids.ravel().astype(np.int32),
                value: values.ravel(),
            }
        )
        parts.append(
            long.with_columns(layer=pl.lit(layer), direction=pl.lit(direction)).filter(pl.col(value) * direction > 0)
        )
    frame = pl.concat(parts)
    return frame.join(token_texts(frame["token_id"], token_text), on="token_id", how="left")


def _dots(rows: Array, row: Ids, columns: Array, column: Ids, *, block: int = 65536) -> Array:
    """rows[row[i]] . columns[:, column[i]] for every i, in fp32, a block at a time."""
    out = np.empty(len(row), np.float32)
    for first in range(0, len(row), block):
        part = slice(first, first + block)
        out[part] = np.einsum("nd,dn->n", rows[row[part]], columns[:, column[part]])
    return out
