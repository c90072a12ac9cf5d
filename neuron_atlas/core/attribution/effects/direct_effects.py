"""The weights of a graph's edges: direct effects between all its nodes, computed exactly by two sweeps that meet in the middle.

w(s→t) = v_s · ∂v_t/∂v_s with every MLP between them cut: what s writes reaches t through the residual stream and the frozen
attention only. A source is the vector it writes, a target the vector that reads it. Sources are carried up and targets down
through attention, one layer at a time, and the product of the two is taken where they are at the same layer:

    up    for layers 0 .. cut-1: attention, then targets of this layer read all sources below them
    down  for layers L-1 .. cut: sources of this layer are read by all targets above, targets of this layer join, attention
    meet  at the input of layer `cut`: one product of what came up with what came down

Where the sweeps meet is the plan's decision (`sweep_plan.py`). Rows are bundled by position and swept a few thousand cells at a
time, so that a block stays in the cache through all layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from neuron_atlas.core.attribution.effects.sweep_plan import (
    Bundle,
    Endpoints,
    HardwareProfile,
    Ints,
    Plan,
    Sizes,
    plan_sweep,
)
from neuron_atlas.core.attribution.linearisation.fold import FoldedModel
from neuron_atlas.core.attribution.linearisation.freeze import FrozenModel
from neuron_atlas.core.attribution.linearisation.replay import attend_down, attend_up
from neuron_atlas.core.attribution.select_nodes import Nodes


@dataclass(frozen=True)
class NodeVectors:
    """What the nodes of a graph write and read, float32.

    Sources [P + N, D]: embeddings by position, then neurons; targets [N + k, D]: neurons, then logits. `sources` and
    `targets` say where each stands. A target's value is its vector times the stream at its position, plus a constant.
    """

    written: Tensor
    read: Tensor
    sources: Endpoints
    targets: Endpoints


def node_vectors(model: FoldedModel, frozen: FrozenModel, nodes: Nodes, logits: Tensor) -> NodeVectors:
    """Vectors of the selected nodes and of the traced logits (`logits` [k, D] on the final residual stream)."""
    length, n_layers = frozen.length, len(model.layers)
    written = logits.new_empty(length + len(nodes), model.width)
    read = logits.new_empty(len(nodes) + logits.shape[0], model.width)
    written[:length] = frozen.embedded
    read[len(nodes) :] = logits
    for index, start, stop in _runs(nodes.layers):
        weights, layer = model.layers[index], frozen.layers[index]
        where = torch.as_tensor(nodes.positions[start:stop], device=logits.device)
        which = torch.as_tensor(nodes.neurons[start:stop], device=logits.device)
        amount = layer.activation[where, which]
        if layer.write_scale is not None:
            amount = amount * layer.write_scale[where]
        torch.mul(weights.decoder[which], amount[:, None], out=written[length + start : length + stop])
        torch.mul(weights.up[which], layer.up_factor[where, which][:, None], out=read[start:stop])
        if weights.gate is not None and layer.gate_factor is not None:
            read[start:stop].addcmul_(weights.gate[which], layer.gate_factor[where, which][:, None])
    last = np.full(logits.shape[0], length - 1)
    return NodeVectors(
        written,
        read,
        Endpoints(
            np.concatenate([np.full(length, -1), nodes.layers]), np.concatenate([np.arange(length), nodes.positions])
        ),
        Endpoints(
            np.concatenate([nodes.layers, np.full(len(last), n_layers)]), np.concatenate([nodes.positions, last])
        ),
    )


def direct_effects(
    model: FoldedModel,
    frozen: FrozenModel,
    vectors: NodeVectors,
    *,
    hardware: HardwareProfile | None = None,
    cut: int | None = None,
) -> Tensor:
    """Direct effects [N + k, P + N] of every source (column) on every target (row), in units of the target's value.

    Entries without a path are 0. `cut` forces where the sweeps meet (tests: every cut gives the same numbers).
    """
    hardware = hardware or HardwareProfile()
    layer = model.layers[0]
    sizes = Sizes(model.width, layer.value.shape[0], layer.out.shape[1], len(model.layers))
    plan = plan_sweep(vectors.sources, vectors.targets, length=frozen.length, sizes=sizes, hardware=hardware, cut=cut)
    return _Sweep(model, frozen, vectors, plan, hardware.cells).run()


@dataclass(frozen=True)
class _SweptUp:
    """Sources that were swept up to the cut: rows [n, P - low, D] over positions from `low` on, and the columns of the effects that
    they fill."""

    low: int
    rows: Tensor
    columns: slice


class _Sweep:
    """One prompt's sweeps: the vectors, the plan, and the matrix of effects to fill.

    Sources that go up are the first columns of the effects, targets that go down the last rows. Until the end both stand in the
    order in which they are swept, so that every product is written to its place.
    """

    def __init__(self, model: FoldedModel, frozen: FrozenModel, vectors: NodeVectors, plan: Plan, cells: int) -> None:
        self.model, self.frozen, self.vectors, self.plan, self.cells = model, frozen, vectors, plan, cells
        self.n_layers = len(model.layers)
        self.targets_at = _cells_by_layer(vectors.targets)
        self.sources_at = _cells_by_layer(vectors.sources)
        self.n_passed = int(np.searchsorted(vectors.targets.layers, plan.cut))
        self.effects = vectors.read.new_zeros(vectors.read.shape[0], vectors.written.shape[0])

    def run(self) -> Tensor:
        swept_up: list[_SweptUp] = []
        for bundle, rows, columns in self._blocks(self.plan.up, first=0):
            swept_up.append(self._sweep_up(bundle, rows, columns))
        for bundle, rows, places in self._blocks(self.plan.down, first=self.n_passed):
            self._sweep_down(bundle, rows, self.effects[places], swept_up)
        if self.plan.down:
            swept = np.concatenate([bundle.rows for bundle in self.plan.down])
            self.effects[self.n_passed :] = self.effects[self._back(swept - self.n_passed) + self.n_passed]
        if self.plan.up:
            rising = self._back(np.concatenate([bundle.rows for bundle in self.plan.up]))
            rest = torch.arange(len(rising), self.effects.shape[1], device=rising.device)
            self.effects = self.effects.index_select(1, torch.cat([rising, rest]))
        return self.effects

    def _blocks(self, bundles: Sequence[Bundle], *, first: int) -> Iterator[tuple[Bundle, Ints, slice]]:
        """Rows that are swept at once, with their bundle and their places in the effects, which follow each other."""
        for bundle in bundles:
            step = max(1, self.cells // (bundle.high - bundle.low))
            for start in range(0, len(bundle.rows), step):
                rows = bundle.rows[start : start + step]
                yield bundle, rows, slice(first, first + len(rows))
                first += len(rows)

    def _back(self, swept: Ints) -> Tensor:
        """Where in the swept order each of 0..n-1 stands."""
        return torch.as_tensor(np.argsort(swept), device=self.effects.device)

    def _sweep_up(self, bundle: Bundle, rows: Ints, columns: slice) -> _SweptUp:
        """Carry a block of sources up to the cut, and let the targets on the way read them."""
        low, vectors = bundle.low, self.vectors
        layers = vectors.sources.layers[rows]
        buffer = rows_at_positions(vectors.written, rows, vectors.sources.positions[rows] - low, bundle.high - low)
        for index in range(int(layers[0]) + 1, self.plan.cut):
            weights = self.model.layers[index]
            active = buffer[: int(np.searchsorted(layers, index))]
            attend_up(active, weights.value, weights.out, self.frozen.layers[index].mix[:, :, low:, low:])
            filled = slice(columns.start, columns.start + len(active))
            for position, start, stop in self.targets_at.get(index, ()):
                if position >= low:
                    read = vectors.read[start:stop]
                    torch.mm(read, active[:, position - low].T, out=self.effects[start:stop, filled])
        if self.plan.cut == self.n_layers and low < bundle.high - 1:  # only logits are left to meet
            low, buffer = bundle.high - 1, buffer[:, -1:].contiguous()
        return _SweptUp(low, buffer, columns)

    def _sweep_down(self, bundle: Bundle, rows: Ints, out: Tensor, swept_up: Sequence[_SweptUp]) -> None:
        """Carry a block of targets down to the cut, let them read the sources on the way and those that were swept up; all into
        their rows of the effects, `out` [n, P + N]."""
        high, vectors, cut = bundle.high, self.vectors, self.plan.cut
        layers = vectors.targets.layers[rows]
        buffer = rows_at_positions(vectors.read, rows, vectors.targets.positions[rows], high)
        for index in range(min(int(layers[0]), self.n_layers - 1), cut - 1, -1):
            self._read_sources(out, buffer[: int(np.searchsorted(-layers, -index))], index)
            weights = self.model.layers[index]
            active = buffer[: int(np.searchsorted(-layers, -index, side="right"))]
            attend_down(active, weights.value, weights.out, self.frozen.layers[index].mix[:, :, :high, :high])
        self._read_sources(out, buffer, cut - 1)
        for part in swept_up:
            shared = high - part.low
            if shared > 0:
                mine = buffer[:, part.low :].flatten(1)
                torch.mm(mine, part.rows[:, :shared].flatten(1).T, out=out[:, part.columns])

    def _read_sources(self, out: Tensor, active: Tensor, layer: int) -> None:
        """The effect of a layer's sources on rows [n, w, D] at that layer, into out [n, P + N]."""
        if not len(active):
            return
        for position, start, stop in self.sources_at.get(layer, ()):
            if position < active.shape[1]:
                written = self.vectors.written[start:stop]
                torch.mm(active[:, position], written.T, out=out[: len(active), start:stop])


def rows_at_positions(vectors: Tensor, rows: Ints, positions: Ints, width: int) -> Tensor:
    """A buffer [n, width, D] that holds each row's vector at its position and zeros elsewhere."""
    which = torch.as_tensor(rows, device=vectors.device)
    buffer = vectors.new_zeros(len(rows), width, vectors.shape[1])
    buffer[torch.arange(len(rows), device=vectors.device), torch.as_tensor(positions, device=vectors.device)] = vectors[
        which
    ]
    return buffer


def _runs(values: Ints) -> Iterator[tuple[int, int, int]]:
    """(value, start, stop) of every run of equal values in a sorted array."""
    starts = np.flatnonzero(np.diff(values, prepend=values[:1] - 1))
    for start, stop in zip(starts, np.append(starts[1:], len(values))[: len(starts)], strict=True):
        yield int(values[start]), int(start), int(stop)


def _cells_by_layer(ends: Endpoints) -> dict[int, list[tuple[int, int, int]]]:
    """Layer to its (position, start, stop); ends stand sorted by layer, then position."""
    cells: dict[int, list[tuple[int, int, int]]] = {}
    for layer, first, last in _runs(ends.layers):
        for position, start, stop in _runs(ends.positions[first:last]):
            cells.setdefault(layer, []).append((position, first + start, first + stop))
    return cells
