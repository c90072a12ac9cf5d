"""The items that a filter selects, given what is known of the neurons and, for some filters, the text at hand.

Every filter is evaluated by itself and the sets are combined after; so no filter depends on what stands beside it.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from neuron_atlas.core.publication.filters.filter_classes import (
    DEFAULT_NEAREST,
    DEFAULT_TOP_K,
    And,
    Attribution,
    Cluster,
    Description,
    Filter,
    Ids,
    Item,
    Layers,
    Neurons,
    Not,
    Or,
    Polarity,
    Quantile,
    Tokens,
)
from neuron_atlas.core.publication.filters.selection import POLARITIES, Mask, Selection, Size
from neuron_atlas.core.publication.top_k import top_k_instances
from neuron_atlas.errors import BadInput, Incomplete

if TYPE_CHECKING:
    from neuron_atlas.core.publication.filters.neuron_facts import NeuronFacts
    from neuron_atlas.core.publication.filters.reading import Reading


def select(wanted: Filter, known: NeuronFacts, reading: Reading | None = None) -> Selection:
    """The items that pass. Without a text there is one imagined position.

    Raises `BadInput` for a filter that needs a text where there is none, or names a token, position or neuron outside; and
    `Incomplete` for one that needs what is missing (no embedder, no quantiles).
    """
    size = Size(1, known.n_layers, known.n_neurons) if reading is None else reading.size
    match wanted:
        case And(filters=inner):
            return (
                _flat(size, True)
                if not inner
                else reduce(Selection.__and__, (select(part, known, reading) for part in inner))
            )
        case Or(filters=inner):
            return (
                _flat(size, False)
                if not inner
                else reduce(Selection.__or__, (select(part, known, reading) for part in inner))
            )
        case Not(filter=inner):
            return ~select(inner, known, reading)
        case Description():
            return _with_label(wanted, known, size)
        case Layers(first=first, last=last):
            return Selection.of_mask(size, _within(first, last, size.n_layers).reshape(1, -1, 1))
        case Neurons(first=first, last=last):
            return Selection.of_mask(size, _within(first, last, size.n_neurons).reshape(1, 1, -1))
        case Polarity(polarity=sign):
            return Selection.of_mask(size, np.array([sign == p for p in POLARITIES]).reshape(2, 1, 1))
        case Cluster(path=path):
            return _in_module(path, known, size)
        case Ids(items=items):
            return _items(items, size)
        case Tokens():
            return _at_tokens(wanted, _needed(reading, "tokens"))
        case Quantile(level=level, tail=tail):
            return _in_tail(level, 1 if tail == "top" else -1, known, _needed(reading, "quantile"))
        case Attribution():
            return _attributed(wanted, _needed(reading, "attribution"))


def _flat(size: Size, is_in: bool) -> Selection:
    """Every item, or none."""
    return Selection.of_mask(size, np.full((1, 1, 1), is_in))


def _within(first: int | None, last: int | None, count: int) -> Mask:
    numbers = np.arange(count)
    return (numbers >= (first or 0)) & (numbers <= (count if last is None else last))


def _needed(reading: Reading | None, kind: str) -> Reading:
    if reading is None:
        raise BadInput(
            f"a filter of kind {kind!r} needs a text, and there is none yet; give the model something to read"
        )
    return reading


# -------------------------------------------------------------------------------------------------------- of what is known
def found_by(wanted: Filter, known: NeuronFacts) -> pl.DataFrame:
    """The label records (rows of `known.descriptions`) for which a filter selects their neurons, those it asks for most closely
    first; none where it says nothing of labels."""
    match wanted:
        case Description():
            return _passing(wanted, known)
        case And(filters=inner) | Or(filters=inner):
            return pl.concat([known.descriptions.clear(), *(found_by(part, known) for part in inner)])
        case _:
            return known.descriptions.clear()


def _with_label(wanted: Description, known: NeuronFacts, size: Size) -> Selection:
    found = _passing(wanted, known)
    mask = np.zeros((2, size.n_layers, size.n_neurons), np.bool_)
    mask[(found["polarity"].to_numpy() < 0).astype(np.intp), found["layer"].to_numpy(), found["neuron"].to_numpy()] = (
        True
    )
    return Selection.of_mask(size, mask)


def _passing(wanted: Description, known: NeuronFacts) -> pl.DataFrame:
    """The label records that pass; the nearest first where it asks for a meaning."""
    rows = known.descriptions
    passes = pl.lit(True)
    for column in ("side", "labeler", "version", "type", "interpretability"):
        value: str | None = getattr(wanted, column)
        if value is not None:
            passes &= pl.col(column) == value
    if wanted.score_from is not None:
        passes &= pl.col("score") >= wanted.score_from
    if wanted.score_to is not None:
        passes &= pl.col("score") <= wanted.score_to
    if wanted.keyword is not None:
        passes &= known.searched.str.contains(pl.lit(wanted.keyword).str.to_lowercase(), literal=True)
    if wanted.regex is not None:
        passes &= known.searched.str.contains(f"(?i){wanted.regex}")
    found = rows.filter(passes)
    return found if wanted.similar_to is None else _nearest(found, wanted, wanted.similar_to, known)


def _nearest(rows: pl.DataFrame, wanted: Description, question: str, known: NeuronFacts) -> pl.DataFrame:
    """The rows near in meaning, one of each neuron and polarity, the nearest first, ties by layer and neuron: those of a least
    similarity, and at most `top_k`."""
    if known.meaning is None:
        raise Incomplete(
            "comparing meanings needs an embedder, and none is loaded; open the atlas with one, or filter by keyword"
        )
    near = rows.with_columns(
        similarity=pl.Series(known.meaning.similarities(question, rows["label"]), dtype=pl.Float32)
    )
    if wanted.min_similarity is not None:
        near = near.filter(pl.col("similarity") >= wanted.min_similarity)
    key = ("layer", "neuron", "polarity")
    best = near.sort(pl.col("similarity").round(6), *key, descending=[True, False, False, False], maintain_order=True)
    best = best.unique(key, keep="first", maintain_order=True).drop("similarity")
    top_k = wanted.top_k or (DEFAULT_NEAREST if wanted.min_similarity is None else None)
    return best if top_k is None else best.head(top_k)


def _in_module(path: str, known: NeuronFacts, size: Size) -> Selection:
    members = known.modules.filter((pl.col("path") == path) | pl.col("path").str.starts_with(f"{path}."))
    mask = np.zeros((1, size.n_layers, size.n_neurons), np.bool_)
    mask[0, members["layer"].to_numpy(), members["neuron"].to_numpy()] = True
    return Selection.of_mask(size, mask)


def _items(items: tuple[Item, ...], size: Size) -> Selection:
    """The union of single items, each free in what it leaves open."""
    anywhere = np.zeros((2, size.n_layers, size.n_neurons), np.bool_)
    placed: list[tuple[int, int, int, int]] = []
    for item in items:
        if item.layer >= size.n_layers or item.neuron >= size.n_neurons:
            raise BadInput(f"{item.id} is outside a model of {size.n_layers} layers of {size.n_neurons} neurons")
        if item.position is not None and item.position >= size.n_positions:
            raise BadInput(f"{item.id} at position {item.position} is outside the text's {size.n_positions} tokens")
        for sign in POLARITIES if item.polarity is None else (item.polarity,):
            if item.position is None:
                anywhere[POLARITIES.index(sign), item.layer, item.neuron] = True
            else:
                placed.append((sign, item.layer, item.neuron, item.position))
    found = Selection.of_mask(size, anywhere)
    if not placed:
        return found
    sign, layer, neuron, position = np.array(placed, np.int64).T
    return found | Selection.of_instances(size, polarity=sign, layer=layer, neuron=neuron, position=position)


# ------------------------------------------------------------------------------------------------------------- of the text
def _at_tokens(wanted: Tokens, reading: Reading) -> Selection:
    length = len(reading.token_ids)
    first = 0 if wanted.first is None else reading.position(wanted.first)
    last = length - 1 if wanted.last is None else reading.position(wanted.last)
    chosen = _within(first, last, length)
    if wanted.text is not None:
        text = wanted.text.strip().lower()
        chosen &= np.array([token.strip().lower() == text for token in reading.tokens], np.bool_)
    return Selection.of_positions(reading.size, chosen)


def _in_tail(level: float, polarity: int, known: NeuronFacts, reading: Reading) -> Selection:
    limits = known.tail(level, polarity=polarity)
    if np.isnan(limits).all():
        raise Incomplete(
            "no activations were counted over a corpus, so there are no quantiles; run: neuron-atlas aggregate"
        )
    beyond = Selection.beyond(reading.size, reading.activations, limits, polarity=polarity)
    return beyond & Selection.of_positions(reading.size, reading.is_counted)


def _attributed(wanted: Attribution, reading: Reading) -> Selection:
    relevance = reading.relevance(wanted.goal)
    top_k = wanted.top_k or (DEFAULT_TOP_K if wanted.threshold is None else None)
    layer, position, neuron = top_k_instances(
        relevance, top_k=top_k, threshold=wanted.threshold or 0.0, sign=wanted.sign
    )
    polarity = np.where(reading.activations[layer, position, neuron] >= 0, 1, -1)
    return Selection.of_instances(reading.size, polarity=polarity, layer=layer, neuron=neuron, position=position)
