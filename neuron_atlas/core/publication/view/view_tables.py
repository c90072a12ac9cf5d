"""Tables of what a filter selects in a text: instances and neurons, the strongest first.

The polarity of an instance is the sign of its activation: of a neuron that is in with one polarity, only the tokens where it fires
with that sign are listed. `normalised` is the activation as a share of its neuron's own tail: 1 at the limit that a share
`level` of a corpus' tokens exceeds (0.001 %), missing without quantiles, where that limit has the other sign, and at special
tokens, which no corpus counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neuron_atlas.core.ports import Array
from neuron_atlas.core.publication.filters import Filter, Selection, found_by
from neuron_atlas.core.publication.filters.neuron_facts import NeuronFacts
from neuron_atlas.core.publication.filters.reading import Reading
from neuron_atlas.core.publication.top_k import top_k_instances

Order: TypeAlias = Literal["normalised", "activation", "relevance"]
LEVEL = 1e-5
"""Share of tokens beyond the limit that activations are compared with."""


def scales(known: NeuronFacts, level: float = LEVEL) -> tuple[Array, Array]:
    """What activations [L, I] of each sign are divided by: the tail of that sign, NaN where it has the other."""
    top, bottom = known.tail(level, polarity=1), -known.tail(level, polarity=-1)
    return np.where(top > 0, top, np.nan), np.where(bottom > 0, bottom, np.nan)


def normalised(reading: Reading, known: NeuronFacts, *, level: float = LEVEL) -> Array:
    """Activations [L, T, I] as signed shares of their neuron's tail of the same sign."""
    top, bottom = scales(known, level)
    return _shares(reading, slice(None), top[:, None], bottom[:, None])


def _shares(reading: Reading, layer: int | slice, top: Array, bottom: Array) -> Array:
    activation = reading.activations[layer]
    shares = np.where(activation >= 0, activation / top, activation / bottom)
    return np.where(reading.is_counted[:, None], shares, np.float32(np.nan))


def instances(
    selection: Selection,
    reading: Reading,
    known: NeuronFacts,
    *,
    order: Order,
    limit: int | None,
    relevance: Array | None = None,
    level: float = LEVEL,
    wanted: Filter | None = None,
) -> pl.DataFrame:
    """The instances that are in, of largest |value| in `order`; one whose value there is 0 or missing is left out. Labels are those
    that the filter `wanted` found them by.

    Columns: neuron_id, layer, neuron, polarity, position, token, activation, normalised, relevance (logits; missing unless given),
    label, description.
    """
    top, bottom = scales(known, level)

    values: dict[Order, Callable[[int], Array]] = {
        "activation": lambda layer: reading.activations[layer],
        "normalised": lambda layer: _shares(reading, layer, top[layer], bottom[layer]),
        "relevance": lambda layer: reading.activations[layer] * 0 if relevance is None else relevance[layer],
    }

    def masked(layer: int) -> Array:
        is_in, activation = selection.of_layer(layer), reading.activations[layer]
        return np.where(np.where(activation >= 0, is_in[:, 0], is_in[:, 1]), values[order](layer), np.float32(0))

    layer, position, neuron = top_k_instances(map(masked, range(known.n_layers)), top_k=limit)
    activation = reading.activations[layer, position, neuron]
    scale = np.where(activation >= 0, top[layer, neuron], bottom[layer, neuron])
    share = np.where(reading.is_counted[position], activation / scale, np.nan)
    found = pl.DataFrame(
        {
            "layer": layer.astype(np.int16),
            "neuron": neuron.astype(np.int32),
            "polarity": np.where(activation >= 0, 1, -1).astype(np.int8),
            "position": position.astype(np.int32),
            "activation": activation,
            "normalised": pl.Series(share, dtype=pl.Float32).fill_nan(None),
            "relevance": pl.Series(
                [None] * len(layer) if relevance is None else relevance[layer, position, neuron], dtype=pl.Float32
            ),
        }
    )
    token = pl.Series([reading.tokens[p] for p in position], dtype=pl.String)
    return with_labels(found.with_columns(token=token), known, wanted).select(
        "neuron_id", "layer", "neuron", "polarity", "position", "token", "activation", "normalised", "relevance", "label",
        "description",
    )  # fmt: skip


def neurons(
    selection: Selection,
    reading: Reading | None,
    known: NeuronFacts,
    *,
    limit: int,
    level: float = LEVEL,
    wanted: Filter | None = None,
) -> pl.DataFrame:
    """The neurons and polarities that are in at some token, in order of layer and neuron without a text, else by the largest
    |normalised| activation of their polarity there. Labels are those that the filter `wanted` found them by.

    Columns: neuron_id, layer, neuron, polarity, n_tokens (at how many tokens in the filter it fires), position, token, activation,
    normalised (of its strongest), label, description, cluster, cluster_name.
    """
    place, layer, neuron = np.nonzero(selection.anywhere)
    peak = _peaks(selection, reading, known) if reading is not None else None
    found = pl.DataFrame(
        {
            "layer": layer.astype(np.int16),
            "neuron": neuron.astype(np.int32),
            "polarity": np.where(place == 0, 1, -1).astype(np.int8),
        }
    )
    if peak is None or reading is None:
        nothing = {"n_tokens": pl.UInt32, "position": pl.Int32, "token": pl.String, "activation": pl.Float32}
        found = found.with_columns(
            **{name: pl.lit(None, dtype) for name, dtype in nothing.items()}, normalised=pl.lit(None, pl.Float32)
        )
        found = found.sort("layer", "neuron", "polarity", descending=[False, False, True]).head(limit)
    else:
        position, count = (part[place, layer, neuron] for part in peak)
        activation = np.where(count > 0, reading.activations[layer, position, neuron], np.nan)
        top, bottom = (scale[layer, neuron] for scale in scales(known, level))
        share = np.where(reading.is_counted[position], activation / np.where(activation >= 0, top, bottom), np.nan)
        found = (
            found.with_columns(
                n_tokens=pl.Series(count, dtype=pl.UInt32),
                position=pl.Series(position, dtype=pl.Int32),
                activation=pl.Series(activation, dtype=pl.Float32).fill_nan(None),
                normalised=pl.Series(share, dtype=pl.Float32).fill_nan(None),
            )
            .with_columns(position=pl.when(pl.col("n_tokens") > 0).then("position"))
            .sort(
                pl.col("normalised").abs(), pl.col("activation").abs(), "layer", "neuron",
                descending=[True, True, False, False], nulls_last=True,
            )
            .head(limit)
        )  # fmt: skip
        found = found.with_columns(
            token=pl.Series([None if p is None else reading.tokens[p] for p in found["position"]], dtype=pl.String)
        )
    modules = known.modules.rename({"path": "cluster", "name": "cluster_name"})
    return (
        with_labels(found, known, wanted)
        .join(modules, on=["layer", "neuron"], how="left", maintain_order="left")
        .select(
            "neuron_id", "layer", "neuron", "polarity", "n_tokens", "position", "token", "activation", "normalised", "label",
            "description", "cluster", "cluster_name",
        )
    )  # fmt: skip


def _peaks(selection: Selection, reading: Reading, known: NeuronFacts) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each neuron and polarity fires strongest among the ordinary tokens that are in (special ones where it fires at no
    other), and at how many tokens it fires: two [2, L, I]."""
    shape = (2, known.n_layers, known.n_neurons)
    best, position, count = np.zeros(shape, np.float32), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    first_counted = int(np.argmax(reading.is_counted)) if reading.is_counted.any() else -1
    for t in sorted(range(reading.size.n_positions), key=lambda t: bool(reading.is_counted[t])):
        if t == first_counted:
            best[:] = 0
        activation, mask = reading.activations[:, t], selection.at(t)
        for place, fires in enumerate((activation > 0, activation < 0)):
            is_in = mask[place] & fires
            count[place] += is_in
            is_better = is_in & (np.abs(activation) > best[place])
            best[place] = np.where(is_better, np.abs(activation), best[place])
            position[place] = np.where(is_better, t, position[place])
    return position, count


def with_labels(found: pl.DataFrame, known: NeuronFacts, wanted: Filter | None = None) -> pl.DataFrame:
    """Rows (layer, neuron, polarity) in their order with neuron_id and the label and description of each that a filter found it by,
    else the best."""
    key = ["layer", "neuron", "polarity"]
    told = known.best if wanted is None else pl.concat([found_by(wanted, known), known.best])
    told = told.select(*key, "label", "description").unique(key, keep="first", maintain_order=True)
    name = pl.format("L{}/N{}", "layer", "neuron")
    return found.join(told, on=key, how="left", maintain_order="left").with_columns(neuron_id=name)
