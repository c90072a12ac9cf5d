"""Total effects between nodes: v_s · ∂v_t/∂v_s through everything in the frozen model, MLPs included.

A direct effect stops at every MLP; a total effect is all paths together. The sweep goes up only: after a layer's attention a
row's response in every neuron of the layer is known, targets are read from it, and it is written back through the decoder.
With the embeddings as sources this says how much of a neuron's value each token of the prompt accounts for.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from neuron_atlas.core.attribution.effects.direct_effects import NodeVectors, rows_at_positions
from neuron_atlas.core.attribution.effects.sweep_plan import HardwareProfile, Ints
from neuron_atlas.core.attribution.linearisation.fold import FoldedLayer, FoldedModel
from neuron_atlas.core.attribution.linearisation.freeze import FrozenLayer, FrozenModel
from neuron_atlas.core.attribution.linearisation.replay import attend_up
from neuron_atlas.core.attribution.select_nodes import Nodes


def total_effects(
    model: FoldedModel,
    frozen: FrozenModel,
    nodes: Nodes,
    vectors: NodeVectors,
    *,
    n_sources: int | None = None,
    hardware: HardwareProfile | None = None,
) -> Tensor:
    """Total effects [N + k, P + N] of every source (column) on every target (row), in units of the target's value.

    `vectors` are those of `node_vectors`; `n_sources` takes only the first so many sources (the P embeddings come first).
    Sources are swept a block at a time; within one layer they do not meet.
    """
    length = frozen.length
    layers, positions = vectors.sources.layers[:n_sources], vectors.sources.positions[:n_sources]
    effects = vectors.read.new_zeros(vectors.read.shape[0], len(layers))
    for start, stop in _blocks(layers, length, (hardware or HardwareProfile()).cells):
        rows = np.arange(start, stop)
        low = int(positions[rows].min())  # before its own position a source changes nothing
        buffer = rows_at_positions(vectors.written, rows, positions[rows] - low, length - low)
        for index in range(int(layers[start]) + 1, len(model.layers)):
            active = buffer[: int(np.searchsorted(layers[rows], index))]
            weights, layer = model.layers[index], frozen.layers[index]
            attend_up(active, weights.value, weights.out, layer.mix[:, :, low:, low:])
            response = _respond(active, weights, layer, low)
            first, last = np.searchsorted(nodes.layers, [index, index + 1])
            reached = int(first) + np.flatnonzero(nodes.positions[first:last] >= low)
            if len(reached):
                read = response[:, nodes.positions[reached] - low, nodes.neurons[reached]]
                effects[reached, start : start + len(active)] = read.T
        at_end = buffer[:, -1] @ vectors.read[len(nodes) :].T
        effects[len(nodes) :, start : start + len(rows)] = at_end.T
    return effects


def _blocks(layers: Ints, length: int, cells: int) -> Iterator[tuple[int, int]]:
    """Sources to sweep together: embeddings by quarters of the prompt (a later one has fewer cells), then neurons."""
    n_embeddings = int(np.searchsorted(layers, 0))
    for first, last, most in ((0, n_embeddings, -(-length // 4)), (n_embeddings, len(layers), len(layers))):
        step = max(1, min(cells // length, most))
        for start in range(first, last, step):
            yield start, min(start + step, last)


def _respond(rows: Tensor, weights: FoldedLayer, layer: FrozenLayer, low: int) -> Tensor:
    """What rows [n, P - low, D] put into every neuron of a layer, [n, P - low, I]; written back to the rows in place."""
    response = (rows @ weights.up.T).mul_(layer.up_factor[low:])
    if weights.gate is not None and layer.gate_factor is not None:
        response.addcmul_(rows @ weights.gate.T, layer.gate_factor[low:])
    written = response if layer.write_scale is None else response * layer.write_scale[low:, None]
    rows.view(-1, rows.shape[-1]).addmm_(written.flatten(0, 1), weights.decoder)
    return response
