"""Do the projections from the weights predict what is measured? A rank correlation per neuron and side.

**Input.** The input projection says what activation each token's embedding alone would cause. Over the tokens of a corpus that is
compared with the mean activation measured *on* each token, in context: Spearman's rho. High: the neuron reads the token at its
own position. Near zero: it reads context, and its input projection is no guide.

**Output.** The output projection says which logits a unit of activation raises. In the real model the neuron is pushed at the
last token of a few texts, by the largest activation it showed, and the change of every logit is compared with the projection: rho
over the vocabulary. The final norm is frozen, as in `graphs/direct_effect_ratio.py`: otherwise every push would shrink all logits
through the norm. High: it writes what its projection says. Near zero: later layers turn it into something else.

Rho compares orders, so what shifts all logits alike, or scales them, does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neuron_atlas.core.aggregation.weights.mlp_formula import normalised, responses
from neuron_atlas.core.aggregation.weights.projections import normed, output_directions
from neuron_atlas.core.ports import Array, SubjectModel
from neuron_atlas.core.records import Edit
from neuron_atlas.core.statistics import Floats, Ids, spearman

MIN_COUNT = 3
"""A token seen less often has no mean worth comparing."""
MIN_TOKENS = 3
"""With fewer tokens a rank correlation means nothing."""
MAX_LOGITS = 4096
"""Tokens of the vocabulary compared on the output side; of a larger vocabulary a random sample of so many."""
STEERED_TOKENS = 64
"""A text in which neurons are pushed is cut to so many tokens."""
BATCH = 64
"""Pushes run together."""


class TokenMeans:
    """Mean activation of [L, I] neurons on each of the most common tokens, from blocks [L, tokens, I].

    Tokens count that occur MIN_COUNT times or more, as many of the most frequent as fit into `memory_bytes` at 8 bytes a neuron
    (ties: lower id).
    """

    def __init__(
        self, shape: tuple[int, int], token_ids: Sequence[int], *, memory_bytes: int, max_types: int = 2000
    ) -> None:
        ids, counts = np.unique(np.array(token_ids, dtype=np.int64), return_counts=True)
        common = np.flatnonzero(counts >= MIN_COUNT)
        most = min(max_types, memory_bytes // (8 * shape[0] * shape[1]))
        kept = np.sort(common[np.argsort(-counts[common], kind="stable")[:most]])
        self.types: Ids = ids[kept]
        self._counts = counts[kept]
        self._sums = np.zeros((shape[0], len(kept), shape[1]))

    def add(self, block: Array, token_ids: Sequence[int]) -> None:
        """Count a block [L, tokens, I] and its tokens."""
        token = np.array(token_ids)
        at = np.flatnonzero(np.isin(token, self.types))
        at = at[np.argsort(token[at], kind="stable")]
        if len(at):
            present, begin = np.unique(token[at], return_index=True)
            sums = np.add.reduceat(block[:, at], begin, axis=1, dtype=np.float64)
            self._sums[:, np.searchsorted(self.types, present)] += sums

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything counted so far."""
        return {"sums": self._sums}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from what `state` returned."""
        self._sums = state["sums"]

    def of(self, layer: int) -> Floats:
        """Means [types, I] of one layer."""
        return self._sums[layer] / self._counts[:, None]


def input_agreement(model: SubjectModel, measured: TokenMeans) -> pl.DataFrame:
    """Rows of table `projection_agreement` but for `corpus`, side "input", for every neuron; none with too few tokens."""
    if len(measured.types) < MIN_TOKENS:
        return _rows([])
    vocab = model.vocab_weights()
    found: list[tuple[int, Ids, Floats]] = []
    for layer in range(model.spec.n_layers):
        mlp = model.mlp_weights(layer)
        predicted = responses(normalised(vocab.embedding[measured.types], mlp), mlp).astype(np.float64)
        found.append((layer, np.arange(model.spec.n_neurons), spearman(predicted, measured.of(layer))))
    return _rows(found, side="input", n_tokens=len(measured.types))


def output_agreement(
    model: SubjectModel,
    texts: Sequence[Sequence[int]],
    peaks: Array,
    *,
    max_neurons: int = 1024,
    n_texts: int = 2,
    seed: int = 0,
) -> pl.DataFrame:
    """Rows of table `projection_agreement` but for `corpus`, side "output".

    `texts` are token ids as the model takes them, of which `n_texts` are drawn; `peaks` [L, I] the signed activation to push by. Of
    every layer the neurons of largest peak are tested, `max_neurons` in all; one whose peak is 0 is not.
    """
    rng = np.random.default_rng(seed)
    chosen = set(rng.permutation(len(texts))[:n_texts].tolist())
    drawn = [list(ids)[:STEERED_TOKENS] for number, ids in enumerate(texts) if number in chosen]
    vocab = model.vocab_weights()
    tokens = np.sort(rng.permutation(len(vocab.unembedding))[:MAX_LOGITS])
    unembedding = vocab.unembedding[tokens].astype(np.float64)
    per_layer = max(1, max_neurons // model.spec.n_layers)
    found: list[tuple[int, Ids, Floats]] = []
    for layer in range(model.spec.n_layers):
        order = np.argsort(-np.abs(peaks[layer]), kind="stable")[:per_layer]
        neurons = np.sort(order[peaks[layer][order] != 0])
        if not len(neurons):
            continue
        amounts = peaks[layer][neurons].astype(np.float64)
        moved = sum(_pushed(model, ids, layer, neurons, amounts) / amounts[:, None] for ids in drawn)
        effect = unembedding @ normed(np.asarray(moved, np.float32).T, vocab)
        predicted = unembedding @ output_directions(model.mlp_weights(layer), vocab)[:, neurons]
        found.append((layer, neurons, spearman(predicted.astype(np.float64), effect)))
    return _rows(found, side="output", n_tokens=len(tokens))


def _pushed(model: SubjectModel, ids: Sequence[int], layer: int, neurons: Ids, amounts: Floats) -> Floats:
    """Change [neurons, D] of the stream before the final norm at the last token, when each neuron is pushed by its amount there."""
    position = len(ids) - 1
    edits = [
        (Edit(layer=layer, neuron=int(neuron), value=float(amount), position=position, how="add"),)
        for neuron, amount in zip(neurons, amounts, strict=True)
    ]
    parts: list[Floats] = []
    for first in range(0, len(edits), BATCH):
        streams = model.final_stream(ids, edits=[(), *edits[first : first + BATCH]]).astype(np.float64)
        parts.append(streams[1:] - streams[0])
    return np.concatenate(parts)


def _rows(found: Sequence[tuple[int, Ids, Floats]], *, side: str = "", n_tokens: int = 0) -> pl.DataFrame:
    """Long form of layers, neurons and their rho; NaN becomes missing."""
    schema = {"layer": pl.Int64, "neuron": pl.Int64, "rank_correlation": pl.Float64}
    parts = [pl.DataFrame({"layer": [layer] * len(n), "neuron": n, "rank_correlation": rho}) for layer, n, rho in found]
    frame = pl.concat([pl.DataFrame(schema=schema), *parts])
    return frame.with_columns(pl.col("rank_correlation").fill_nan(None), side=pl.lit(side), n_tokens=pl.lit(n_tokens))
