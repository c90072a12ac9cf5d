"""Steering: what a filter holds, held at a share of its own tail.

    value = strength × quantile      the top limit for polarity +, the bottom one for - (the other one when flipped)

The two tails of a neuron differ, so a negative strength means nothing: flip instead. A neuron that is in at every token of the
text is steered at every token, also of what is still to be written; otherwise at its tokens alone. Where a filter leaves the
polarity open, the neuron is pushed the way in which it fires most strongly in the text at those tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neuron_atlas.core.publication.filters import Filter, Selection
from neuron_atlas.core.publication.known import Known, Reading
from neuron_atlas.core.records import Edit
from neuron_atlas.errors import BadInput

How: TypeAlias = Literal["set", "add", "scale"]
LEVEL = 1e-7
"""The tail that strengths are shares of: as far out as is kept."""
MAX_EDITS = 20_000


@dataclass(frozen=True)
class Steering:
    """One intervention: the filter and how it was turned into `edits`. `n_neurons` were steered, `n_skipped` were in the filter but
    have no quantile that says how far."""

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
    known: Known,
    *,
    strength: float,
    how: How = "set",
    level: float = LEVEL,
    is_flipped: bool = False,
) -> Steering:
    """The edits that hold what is in `selection` at strength × quantile (`set`), add that much (`add`), or multiply the activation
    by strength (`scale`, which needs no quantile).

    Raises `BadInput` for a strength below 0, nothing to steer, or more than `MAX_EDITS` edits.
    """
    if not 0 <= strength < float("inf"):
        raise BadInput(
            f"strength is {strength:g}; expected 0 or more. The other way round is the flipped tail, not a minus sign"
        )
    chosen = _one_polarity(selection, reading)
    layer, neuron = np.nonzero(chosen)
    sign = chosen[layer, neuron] * (-1 if is_flipped else 1)
    limit = np.where(
        sign > 0, known.tail(level, polarity=1)[layer, neuron], known.tail(level, polarity=-1)[layer, neuron]
    )
    value = np.full(len(layer), strength) if how == "scale" else strength * limit.astype(np.float64)
    if strength == 0:
        value = np.zeros(len(layer))
    is_known = np.isfinite(value)
    is_open = selection.everywhere[np.where(chosen[layer, neuron] > 0, 0, 1), layer, neuron]
    edits: list[Edit] = [
        Edit(int(at), int(n), float(v), None, how)
        for at, n, v in zip(
            layer[is_known & is_open], neuron[is_known & is_open], value[is_known & is_open], strict=True
        )
    ]
    placed = is_known & ~is_open
    for position in range(selection.size.n_positions if placed.any() else 0):
        mask = selection.at(position)[np.where(chosen[layer, neuron] > 0, 0, 1), layer, neuron] & placed
        _refuse_too_many(len(edits) + int(mask.sum()))
        edits += [
            Edit(int(at), int(n), float(v), position, how)
            for at, n, v in zip(layer[mask], neuron[mask], value[mask], strict=True)
        ]
    _refuse_too_many(len(edits))
    if not edits:
        reason = f"all {len(layer)} of them lack quantiles" if len(layer) else "the filter holds no neuron"
        raise BadInput(f"nothing to steer: {reason}; widen the filter, or steer by scaling")
    return Steering(wanted, strength, how, level, is_flipped, tuple(edits), int(is_known.sum()), int((~is_known).sum()))


def _one_polarity(selection: Selection, reading: Reading | None) -> NDArray[np.int8]:
    """+1, -1 or 0 (not in) for every neuron, [L, I]; see the module for neurons that are in with both."""
    plus, minus = selection.anywhere
    chosen = plus.astype(np.int8) - minus.astype(np.int8)
    both = plus & minus
    if not both.any():
        return chosen
    layer, neuron = np.nonzero(both)
    if reading is None:
        chosen[layer, neuron] = 1
        return chosen
    strongest = np.zeros(len(layer), np.float32)
    for position in range(reading.size.n_positions):
        activation = reading.activations[layer, position, neuron]
        is_in = selection.at(position)[np.where(activation >= 0, 0, 1), layer, neuron]
        strongest = np.where(is_in & (np.abs(activation) > np.abs(strongest)), activation, strongest)
    chosen[layer, neuron] = np.where(strongest >= 0, 1, -1)
    return chosen


def _refuse_too_many(count: int) -> None:
    if count > MAX_EDITS:
        raise BadInput(
            f"the filter makes {count} edits, at most {MAX_EDITS} can be held; narrow it, e.g. by nearest or tokens"
        )
