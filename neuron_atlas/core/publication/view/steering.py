"""Steering: what a filter selects is set to a share of its own tail.

    value = strength × quantile      the top limit for polarity +, the bottom one for - (the other one when flipped)

The two tails of a neuron differ, so a negative strength means nothing: flip instead. A neuron that is in at every token of the
text is steered at every token, also of what is still to be written; otherwise at its tokens alone. Where a filter leaves the
polarity open, a neuron is pushed the way in which it fires: at that token, or most strongly in the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neuron_atlas.core.publication.filters import Filter, Selection
from neuron_atlas.core.publication.filters.neuron_facts import NeuronFacts
from neuron_atlas.core.publication.filters.reading import Reading
from neuron_atlas.core.records import Edit
from neuron_atlas.errors import BadInput

How: TypeAlias = Literal["set", "add", "scale"]
LEVEL = 1e-7
"""The tail that strengths are shares of: as far out as is kept."""
MAX_EDITS = 20_000


@dataclass(frozen=True)
class Steering:
    """One intervention: the filter and how it was turned into `edits`. `n_neurons` were steered, `n_skipped` were selected but have
    no quantile that says how far."""

    wanted: Filter
    strength: float
    how: How
    level: float
    is_flipped: bool
    edits: tuple[Edit, ...]
    n_neurons: int
    n_skipped: int


def steer(
    wanted: Filter,
    selection: Selection,
    reading: Reading | None,
    known: NeuronFacts,
    *,
    strength: float,
    how: How = "set",
    level: float = LEVEL,
    is_flipped: bool = False,
) -> Steering:
    """The edits that set what is in `selection` to strength × quantile (`set`), add that much (`add`), or multiply the activation
    by strength (`scale`, which needs no quantile).

    Raises `BadInput` for a strength below 0, nothing to steer, or more than `MAX_EDITS` edits.
    """
    if not 0 <= strength < float("inf"):
        raise BadInput(
            f"strength is {strength:g}; expected 0 or more. To push the other way, flip the tail instead of giving a minus sign"
        )
    tails = {1: known.tail(level, polarity=1), -1: known.tail(level, polarity=-1)}
    edits: list[Edit] = []
    steered = np.zeros(selection.anywhere.shape[1:], np.bool_)
    for position, signs in _signs(selection, reading):
        layer, neuron = np.nonzero(signs)
        pushed = signs[layer, neuron] * (-1 if is_flipped else 1)
        tail = np.where(pushed > 0, tails[1][layer, neuron], tails[-1][layer, neuron]).astype(np.float64)
        value = strength * (np.ones_like(tail) if how == "scale" or strength == 0 else tail)
        kept = np.isfinite(value)
        steered[layer[kept], neuron[kept]] = True
        _refuse_too_many(len(edits) + int(kept.sum()))
        edits += [
            Edit(int(at), int(n), float(v), position, how)
            for at, n, v in zip(layer[kept], neuron[kept], value[kept], strict=True)
        ]
    n_selected = int(selection.anywhere.any(0).sum())
    if not edits:
        reason = f"all {n_selected} selected neurons lack quantiles" if n_selected else "the filter selects no neuron"
        raise BadInput(f"nothing to steer: {reason}; widen the filter, or steer by scaling")
    n_neurons = int(steered.sum())
    return Steering(wanted, strength, how, level, is_flipped, tuple(edits), n_neurons, n_selected - n_neurons)


def _signs(selection: Selection, reading: Reading | None) -> Iterator[tuple[int | None, NDArray[np.int8]]]:
    """Position (None: every one) and which way each neuron [L, I] is pushed there: +1, -1, or 0 for not at all."""
    plus, minus = selection.everywhere
    yield None, np.where(plus & minus, _strongest_signs(reading, plus), plus.astype(np.int8) - minus.astype(np.int8))
    if np.array_equal(selection.everywhere.any(0), selection.anywhere.any(0)):
        return
    for position in range(selection.size.n_positions):
        up, down = selection.at(position) & ~(plus | minus)
        own = np.int8(1) if reading is None else np.where(reading.activations[:, position] >= 0, 1, -1).astype(np.int8)
        yield position, np.where(up & down, own, up.astype(np.int8) - down.astype(np.int8))


def _strongest_signs(reading: Reading | None, shape: NDArray[np.bool_]) -> NDArray[np.int8]:
    """The sign with which each neuron [L, I] fires most strongly in the text; + without one."""
    if reading is None:
        return np.ones(shape.shape, np.int8)
    top, bottom = reading.activations.max(1), reading.activations.min(1)
    return np.where(top >= -bottom, 1, -1).astype(np.int8)


def _refuse_too_many(count: int) -> None:
    if count > MAX_EDITS:
        raise BadInput(
            f"the filter makes {count} edits, at most {MAX_EDITS} can be held; narrow it, e.g. by nearest or tokens"
        )
