"""Which neuron instances become nodes of a graph.

By default those whose relevance is at least tau of the goal's value; a graph can also ask for the largest N, or for the
smallest set that holds a share of all relevance. More than `max_nodes` are trimmed to the largest, and the graph says so
(`is_trimmed`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuron_atlas.core.records import NeuronId, TraceOptions
from neuron_atlas.errors import BadInput

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Nodes:
    """Selected neuron instances, sorted by (layer, position, neuron): three arrays [N]."""

    layers: Ints
    positions: Ints
    neurons: Ints
    is_trimmed: bool = False

    def __len__(self) -> int:
        return len(self.layers)


def check_selection(options: TraceOptions) -> None:
    """Raises `BadInput` for selection options that contradict each other or are out of range."""
    if options.top_n is not None and options.mass is not None:
        raise BadInput(f"choose nodes by top_n or by mass, not both (got top_n={options.top_n}, mass={options.mass})")
    if options.top_n is not None and options.top_n < 1:
        raise BadInput(f"top_n must be at least 1, got {options.top_n}")
    if options.mass is not None and not 0 < options.mass <= 1:
        raise BadInput(f"mass is a share of all relevance, above 0 and at most 1; got {options.mass}")
    for name, value in (("tau", options.tau), ("edge_tau", options.edge_tau)):
        if not 0 <= value < float("inf"):
            raise BadInput(f"{name} must be a finite number of at least 0, got {value}")
    for name, count in (("k", options.k), ("max_nodes", options.max_nodes)):
        if count < 1:
            raise BadInput(f"{name} must be at least 1, got {count}")
    for text in options.exclude:
        NeuronId.parse(text)


def select_nodes(relevance: NDArray[np.float32], *, goal_value: float, options: TraceOptions) -> Nodes:
    """Choose nodes from relevances [L, P, I]. A neuron with relevance 0 is never chosen; ties go to the lower index.

    Raises `BadInput` for an excluded neuron that the model does not have.
    """
    sizes = np.abs(relevance)
    for left_out in map(NeuronId.parse, options.exclude):
        if left_out.layer >= relevance.shape[0] or left_out.neuron >= relevance.shape[2]:
            raise BadInput(
                f"cannot exclude {left_out}: the model has {relevance.shape[0]} layers of {relevance.shape[2]} neurons"
            )
        sizes[left_out.layer, :, left_out.neuron] = 0.0
    size = sizes.ravel()
    if options.top_n is not None:
        chosen = _largest(size, options.top_n)
    elif options.mass is not None:
        chosen = _holding(size, options.mass)
    else:
        chosen = np.flatnonzero(size >= max(options.tau * abs(goal_value), np.finfo(np.float32).tiny))
    is_trimmed = len(chosen) > options.max_nodes
    if is_trimmed:
        chosen = chosen[_largest(size[chosen], options.max_nodes)]
    layers, positions, neurons = np.unravel_index(np.sort(chosen), relevance.shape)
    return Nodes(layers.astype(np.int64), positions.astype(np.int64), neurons.astype(np.int64), is_trimmed)


def _largest(size: NDArray[np.float32], count: int) -> Ints:
    """Indices of the largest values above 0."""
    if count < len(size):
        edge = np.partition(size, len(size) - count)[len(size) - count]
        above = np.flatnonzero(size > edge)
        level = np.flatnonzero(size == edge)[: count - len(above)]
        candidates = np.concatenate((above, level))
    else:
        candidates = np.arange(len(size))
    return candidates[size[candidates] > 0].astype(np.int64)


def _holding(size: NDArray[np.float32], mass: float) -> Ints:
    """Indices of the smallest set of largest values that holds a share of their sum."""
    order = np.argsort(-size, kind="stable")
    held = np.cumsum(size[order], dtype=np.float64)
    total = float(held[-1])
    if total == 0:
        return order[:0].astype(np.int64)
    count = int(np.searchsorted(held, mass * total, side="left")) + 1
    chosen = order[: min(count, len(order))]
    return chosen[size[chosen] > 0].astype(np.int64)
