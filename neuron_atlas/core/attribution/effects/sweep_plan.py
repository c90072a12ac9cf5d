"""Where the sweeps up and down meet, and which positions share a buffer.

A source at position p changes only positions from p on; a target at position p depends only on positions up to p. So a
source late in the prompt is cheap to push up and a target early in it cheap to pull down. The layers are cut once: sources
well below the cut are pushed up to it, targets at or above it pulled down to it, and one product joins them there. The cut
is the one with the fewest multiplications, counted in closed form.

Rows are bundled by position: a bundle [low, high) of sources keeps positions low..P, one of targets 0..high. Fewer bundles
waste positions, more bundles waste calls; the best partition is found by dynamic programming in O(P²).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class HardwareProfile:
    """What the plan assumes of the hardware: `call_flops` is the cost of one more bundle per layer, in floating point operations;
    `cells` how many row-positions are swept at once (they should fit the cache); `stored_bytes` how much of the sources that were
    swept up may be kept until the targets meet them."""

    call_flops: float = 36e6
    cells: int = 2048
    stored_bytes: int = 2**29

    @classmethod
    def of(cls, device: str) -> HardwareProfile:
        """Settings for a torch device: a GPU wants fewer, larger calls."""
        return cls() if device == "cpu" else cls(call_flops=3e9, cells=2**15, stored_bytes=2**33)


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a sweep costs: width D, width of the values K·d and of the heads H·d, and the number of layers."""

    width: int
    value_width: int
    head_width: int
    n_layers: int

    def attention(self, positions: int | Floats) -> float | Floats:
        """Operations to carry one row-position through one attention layer over so many positions."""
        return 2.0 * self.width * (self.value_width + self.head_width) + 2.0 * self.head_width * positions


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Sources or targets by layer and position; embeddings are layer -1, logits layer L."""

    layers: Ints
    positions: Ints


@dataclass(frozen=True, slots=True)
class Bundle:
    """Rows that share a buffer over positions low..high-1; indices into the sources or targets, in sweeping order."""

    low: int
    high: int
    rows: Ints


@dataclass(frozen=True, slots=True)
class Plan:
    """Targets in layers >= cut are pulled down to the input of layer `cut`; sources in layers < cut - 1 are pushed up to it;
    sources in layer cut - 1 are read there directly."""

    cut: int
    up: tuple[Bundle, ...]
    down: tuple[Bundle, ...]
    flops: float


def plan_sweep(
    sources: Endpoints,
    targets: Endpoints,
    *,
    length: int,
    sizes: Sizes,
    hardware: HardwareProfile,
    cut: int | None = None,
) -> Plan:
    """The cheapest plan for one prompt of `length` positions; `cut` 0..L forces one."""
    costs = _costs(sources, targets, length=length, sizes=sizes, hardware=hardware)
    if cut is None:
        cut = int(np.argmin(costs))
    going_up = np.flatnonzero(sources.layers < cut - 1)
    going_down = np.flatnonzero(targets.layers >= cut)
    up_steps = cut - 1 - sources.layers[going_up]
    down_steps = np.minimum(targets.layers[going_down], sizes.n_layers - 1) - cut + 1
    up = _bundles(
        length - 1 - sources.positions[going_up], up_steps, going_up, sources.layers[going_up],
        length=length, sizes=sizes, hardware=hardware,
    )  # fmt: skip
    down = _bundles(
        targets.positions[going_down], down_steps, going_down, -targets.layers[going_down],
        length=length, sizes=sizes, hardware=hardware,
    )  # fmt: skip
    mirrored = tuple(Bundle(length - bundle.high, length, bundle.rows) for bundle in up)
    return Plan(cut, mirrored, down, float(costs[cut]))


def _costs(sources: Endpoints, targets: Endpoints, *, length: int, sizes: Sizes, hardware: HardwareProfile) -> Floats:
    """Operations of every cut 0..L, [L + 1]; infinite where the meeting would not fit."""
    n_layers = sizes.n_layers
    below = np.zeros((n_layers + 2, length))  # by layer + 1: row L + 1 stays empty
    np.add.at(below, (sources.layers + 1, sources.positions), 1.0)
    above = np.zeros((n_layers + 1, length))
    np.add.at(above, (targets.layers, targets.positions), 1.0)
    widths_up = np.arange(length, 0, -1, dtype=np.float64)
    widths_down = np.arange(1, length + 1, dtype=np.float64)
    work_up = below @ (widths_up * sizes.attention(widths_up))
    work_down = above @ (widths_down * sizes.attention(widths_down))
    overlap = np.maximum(np.arange(length)[None, :] - np.arange(length)[:, None] + 1, 0)
    costs = np.empty(n_layers + 1)
    for cut in range(n_layers + 1):
        up = work_up[:cut] @ np.arange(cut, 0, -1)
        down = work_down[cut:] @ (np.minimum(np.arange(cut, n_layers + 1), n_layers - 1) - cut + 1)
        sent, taken = below[:cut].sum(0), above[cut:].sum(0)
        meeting = 2.0 * sizes.width * float(sent @ (overlap if cut < n_layers else np.ones_like(overlap)) @ taken)
        costs[cut] = up + down + meeting
        if 0 < cut < n_layers and 4.0 * sizes.width * float(sent @ widths_up) > hardware.stored_bytes:
            costs[cut] = np.inf
    return costs


def _bundles(
    positions: Ints, steps: Ints, rows: Ints, order: Ints, *, length: int, sizes: Sizes, hardware: HardwareProfile
) -> tuple[Bundle, ...]:
    """Cut positions 0..P-1 (a row at p needs p + 1 cells) into bundles of least work; each bundle's rows come sorted by
    `order` (the layer, in sweeping direction), then index."""
    if not len(rows):
        return ()
    load = np.bincount(positions, weights=np.maximum(steps, 1), minlength=length)
    total = np.concatenate([[0.0], np.cumsum(load)])
    widths = np.arange(1, length + 1, dtype=np.float64)
    work = widths * sizes.attention(widths)
    call = hardware.call_flops * float(steps.max(initial=1))
    best = np.zeros(length + 1)
    came_from = np.zeros(length + 1, dtype=np.int64)
    for high in range(1, length + 1):
        candidates = best[:high] + (total[high] - total[:high]) * work[high - 1] + call
        if load[high - 1] == 0:  # nothing ends here: the bundle may as well end one position earlier
            best[high], came_from[high] = best[high - 1], -1
            continue
        came_from[high] = int(np.argmin(candidates))
        best[high] = candidates[came_from[high]]
    bundles: list[Bundle] = []
    high = length
    while high > 0:
        if came_from[high] == -1:
            high -= 1
            continue
        low = int(came_from[high])
        inside = np.flatnonzero((positions >= low) & (positions < high))
        inside = inside[np.lexsort((rows[inside], order[inside]))]
        bundles.append(Bundle(0, high, rows[inside]))
        high = low
    return tuple(reversed(bundles))
