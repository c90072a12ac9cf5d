"""Weight edges: the later neurons that a neuron would excite or inhibit, from the weights alone (virtual weights between layers).

Through the residual stream a neuron adds its decoder column d to what every later neuron reads, first scaled by that layer's input
norm (its weight w folded here, its scale taken as 1; centred for LayerNorm). So a unit of its activation moves the later
neuron's gate and up inputs by

    c_gate = W_gate (w * d)    c_up = W_up (w * d).

Where both rise the edge *excites* (+1), where both fall it *inhibits* (-1); where they disagree the sign depends on the context and
there is no edge. Without a gate c_up alone counts. Strength is |c_gate| + |c_up|. Attention and the MLPs between are left out: an
edge of `edge_stats` says what happened in prompts, one of these what the weights allow.

A block of targets at a time meets all neurons of the source layer, and only the best of every neuron are kept: no matrix of one
layer by another is held.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl

from neuron_atlas.core.ports import Array, MlpWeights
from neuron_atlas.core.records import Frames
from neuron_atlas.core.tables import WEIGHT_EDGES

BLOCK_BYTES = 32 * 2**20
"""Size of one block [targets, sources] of products; a handful of them are held."""

_VALUES = ("target_layer", "target", "gate", "up", "strength")


def weight_edges(source: MlpWeights, later: Iterable[MlpWeights], *, k: int = 10) -> Frames:
    """Table `weight_edges` of one layer: the `k` strongest exciting and inhibiting edges of every neuron into the `later` layers,
    which are read once, one at a time. Of equal strengths the earlier layer, then the lower neuron comes first."""
    decoder = source.down if source.post_norm is None else source.down * source.post_norm[:, None]
    n_sources = decoder.shape[1]
    size = max(1, BLOCK_BYTES // (4 * n_sources))
    best = {sign: {name: np.zeros((0, n_sources)) for name in _VALUES} for sign in (1, -1)}
    for layer in later:
        for first in range(0, layer.up.shape[0], size):
            up = _read(layer.up[first : first + size], layer) @ decoder
            gate = up if layer.gate is None else _read(layer.gate[first : first + size], layer) @ decoder
            for sign in best:
                agreed = np.minimum(sign * up, sign * gate) > 0
                strength = np.where(agreed, np.abs(up) + (0 if layer.gate is None else np.abs(gate)), 0)
                block = {"target_layer": np.full_like(up, layer.layer), "gate": gate, "up": up, "strength": strength}
                block["target"] = np.broadcast_to(np.arange(first, first + len(up))[:, None], up.shape)
                best[sign] = _strongest({name: np.concatenate([best[sign][name], block[name]]) for name in _VALUES}, k)
    parts = [_frame(kept, direction=sign) for sign, kept in best.items()]
    return {WEIGHT_EDGES.name: WEIGHT_EDGES.checked(pl.concat(parts).with_columns(layer=pl.lit(source.layer)))}


def _read(rows: Array, layer: MlpWeights) -> Array:
    """Rows [n, D] of a layer's weights as they read the stream, the input norm folded."""
    folded = rows if layer.norm is None else rows * layer.norm
    return folded - folded.mean(axis=1, keepdims=True) if layer.norm_kind == "layer" else folded


def _strongest(rows: dict[str, np.ndarray], k: int) -> dict[str, np.ndarray]:
    """The first `k` of every column [n, sources] by strength."""
    order = np.argsort(-rows["strength"], axis=0, kind="stable")[:k]
    return {name: np.take_along_axis(values, order, axis=0) for name, values in rows.items()}


def _frame(rows: dict[str, np.ndarray], *, direction: int) -> pl.DataFrame:
    """Long form; a neuron may have fewer edges of a direction than were asked for."""
    k, n = rows["strength"].shape
    columns = {"rank": np.repeat(np.arange(int(k)), n), "neuron": np.tile(np.arange(int(n)), k)}
    frame = pl.DataFrame({**columns, **{name: values.ravel() for name, values in rows.items()}})
    return frame.filter(pl.col("strength") > 0).with_columns(direction=pl.lit(direction))
