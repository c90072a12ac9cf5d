"""One pass over a text corpus: how each neuron's activation is distributed, and the texts that show it.

Equal texts count once; special tokens (BOS, EOS, padding) are left out of every number and every exemplar, because their huge
activations say nothing about language. Exemplars are kept for each sign of the activation (polarity).

**Interruptions.** The counts are saved from time to time where the caller says (`corpus_pass.SavedPass`), and restored.

**Memory.** With N neurons in the model: 780 bytes x N for histograms, 24 bytes x N x `top_k` for running top texts, a
quarter of `memory_bytes` each for correlations and for means by token, and up to `memory_bytes` for the activations
themselves. While those fit (tokens x N x 4 bytes), quantiles are exact and the texts are read once. Beyond that they are
dropped: extremes are kept instead (see `distributions`), and the texts that became exemplars are run once more to fetch
their tokens' activations. The exemplars returned take about 12 bytes x N x 2 polarities x examples x tokens per text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from neuron_atlas.core.aggregation.corpora.corpus_pass import CorpusPass, SavedPass
from neuron_atlas.core.aggregation.corpora.exemplars import ExemplarPlan, choose_exemplars
from neuron_atlas.core.aggregation.corpora.projection_agreement import input_agreement, output_agreement
from neuron_atlas.core.hashing import content_hash
from neuron_atlas.core.ports import Array, SubjectModel
from neuron_atlas.core.records import Frames, Prompt
from neuron_atlas.core.tables import (
    ACTIVATION_STATS,
    CORRELATED_NEURONS,
    EXEMPLARS,
    PROJECTION_AGREEMENT,
    tables_of,
)
from neuron_atlas.errors import BadInput, DamagedData

BATCH_TOKENS = 1024
"""Tokens that go through the model together."""

MOST_CHARACTERS = 32
"""A text is cut to this many characters per token that may be read of it, so that a long document is not tokenized as a whole."""


@dataclass(frozen=True)
class EncodedText:
    """One text as the model reads it: the ids given to the model, and the positions that count (`kept`: those without special
    tokens)."""

    text_id: str
    given_ids: tuple[int, ...]
    kept: tuple[int, ...]

    @property
    def token_ids(self) -> list[int]:
        """The ids that count."""
        return [self.given_ids[i] for i in self.kept]


def activation_stats(
    model: SubjectModel,
    texts: Sequence[str],
    *,
    corpus: str,
    top_k: int = 10,
    n_random: int = 5,
    n_hard: int = 5,
    n_correlated: int = 10,
    max_steered: int = 1024,
    held_out_share: float = 0.4,
    max_tokens: int = 256,
    memory_bytes: int = 2**30,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    saved: SavedPass | None = None,
) -> Frames:
    """The tables of asset `activation_stats` for one corpus.

    Per neuron and polarity: the `top_k` texts of largest peak, `n_random` other texts, and `n_hard` texts that hold a token on
    which the neuron peaked elsewhere, but stay below its threshold. `held_out_share` of the texts, chosen by `seed` and the
    text's own id, are marked for scoring. A text is read up to its first `max_tokens` tokens or what the model's context
    holds; one the model cannot read at all is left out. `progress` is called with (texts done, texts). A pass
    that was interrupted continues from what is in `saved`, with the same result.

    Raises `BadInput` without any token to count, `DamagedData` on activations that are not finite.
    """
    read = read_texts(model, texts, max_tokens=max_tokens)
    if not read:
        raise BadInput(
            f"corpus {corpus!r} has no text with a countable token ({len(texts)} texts given); add texts to it"
        )
    shape = (model.spec.n_layers, model.spec.n_neurons)
    every_token = [i for t in read for i in t.token_ids]
    counted = CorpusPass(shape, every_token, top_k=top_k, memory_bytes=memory_bytes, seed=seed)
    identity = [
        model.spec.revision,
        model.spec.dtype,
        [t.given_ids for t in read],
        top_k,
        memory_bytes,
        seed,
        BATCH_TOKENS,
    ]
    key = content_hash(identity)
    if saved is not None and (state := saved.load(key)) is not None:
        counted.restore(state)
    done = 0
    for batch in batches(read):
        done += len(batch)
        if done <= counted.n_texts:
            continue
        block = np.concatenate([_finite(a, t) for a, t in zip(run(model, batch), batch, strict=True)], axis=1)
        counted.add(block, [len(t.kept) for t in batch], [i for t in batch for i in t.token_ids])
        if saved is not None:
            saved.offer(key, counted.state)
        if progress is not None:
            progress(done, len(read))
    distributions, top = counted.distributions, counted.top
    stats = distributions.frame().with_columns(corpus=pl.lit(corpus))
    plan = ExemplarPlan(n_random=n_random, n_hard=n_hard, seed=seed)
    thresholds = stats["active_threshold"].to_numpy().reshape(shape)
    blocks = distributions.blocks

    def fetch(wanted: Sequence[int]) -> Iterator[Array]:
        return _run_again(model, read, wanted) if blocks is None else _slices(blocks, read, wanted)

    chosen = choose_exemplars(top, [t.token_ids for t in read], thresholds, fetch, plan)
    shown = _text_columns(model, read, seed=seed, held_out_share=held_out_share)
    exemplars = chosen.join(shown, on="text", how="left").drop("text").with_columns(corpus=pl.lit(corpus))
    low, high = (stats[name].to_numpy().reshape(shape) for name in ("minimum", "maximum"))
    given = [t.given_ids for t in read]
    agreement = [
        input_agreement(model, counted.means),
        output_agreement(model, given, np.where(high >= -low, high, low), max_neurons=max_steered, seed=seed),
    ]
    frames = {
        ACTIVATION_STATS.name: stats,
        EXEMPLARS.name: exemplars,
        CORRELATED_NEURONS.name: counted.correlations.frame(k=n_correlated).with_columns(corpus=pl.lit(corpus)),
        PROJECTION_AGREEMENT.name: pl.concat(agreement).with_columns(corpus=pl.lit(corpus)),
    }
    return {table.name: table.checked(frames[table.name]) for table in tables_of("activation_stats")}


def _text_columns(
    model: SubjectModel, read: Sequence[EncodedText], *, seed: int, held_out_share: float
) -> pl.DataFrame:
    """What an exemplar says of its text, by number of the text. Whether it is held out depends on seed and text id alone."""
    text_of = {i: model.token_text(i) for i in {i for t in read for i in t.token_ids}}
    return pl.DataFrame(
        {
            "text": range(len(read)),
            "is_held_out": [int(content_hash([seed, t.text_id])[:8], 16) < held_out_share * 16**8 for t in read],
            "text_id": [t.text_id for t in read],
            "token_ids": [t.token_ids for t in read],
            "tokens": [[text_of[i] for i in t.token_ids] for t in read],
        }
    )


def read_texts(model: SubjectModel, texts: Sequence[str], *, max_tokens: int) -> list[EncodedText]:
    """Distinct texts with at least one token that is not special, in order; those the model cannot read are left out."""
    special = model.special_ids
    read: list[EncodedText] = []
    for text in dict.fromkeys(texts):
        ids = _readable_ids(model, text, max_tokens)
        kept = tuple(i for i, token in enumerate(ids) if token not in special)
        if kept:
            read.append(EncodedText(content_hash(text)[:16], ids, kept))
    return read


def _readable_ids(model: SubjectModel, text: str, max_tokens: int) -> tuple[int, ...]:
    """The first ids of a text. A text that the model refuses is halved until it fits the context; none for one it cannot read."""
    text = text[: MOST_CHARACTERS * max_tokens]
    while text:
        try:
            return tuple(model.encode(Prompt(text=text, raw=True))[:max_tokens])
        except BadInput:
            text = text[: len(text) // 2]
    return ()


def batches(texts: Sequence[EncodedText]) -> Iterator[list[EncodedText]]:
    """Consecutive texts of together at most BATCH_TOKENS tokens (at least one text)."""
    batch: list[EncodedText] = []
    size = 0
    for text in texts:
        if batch and size + len(text.given_ids) > BATCH_TOKENS:
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += len(text.given_ids)
    if batch:
        yield batch


def run(model: SubjectModel, batch: Sequence[EncodedText]) -> Iterator[Array]:
    """Activations [L, kept tokens, I] of each text."""
    for text, activations in zip(batch, model.activations([t.given_ids for t in batch]), strict=True):
        yield activations[:, list(text.kept), :]


def _finite(activations: Array, text: EncodedText) -> Array:
    if not np.isfinite(activations).all():
        layer, _, neuron = (int(i) for i in np.argwhere(~np.isfinite(activations))[0])
        raise DamagedData(
            f"activation of L{layer}/N{neuron} on text {text.text_id} is not finite; expected finite numbers. "
            "Check the model's weights, or load it in float32."
        )
    return activations


def _slices(blocks: Sequence[Array], texts: Sequence[EncodedText], wanted: Sequence[int]) -> Iterator[Array]:
    """Activations of the wanted texts, cut out of the blocks of their batches."""
    place: list[tuple[int, int]] = []
    for number, batch in enumerate(batches(texts)):
        begin = 0
        for text in batch:
            place.append((number, begin))
            begin += len(text.kept)
    for i in wanted:
        number, begin = place[i]
        yield blocks[number][:, begin : begin + len(texts[i].kept)]


def _run_again(model: SubjectModel, texts: Sequence[EncodedText], wanted: Sequence[int]) -> Iterator[Array]:
    for batch in batches([texts[i] for i in wanted]):
        yield from run(model, batch)
