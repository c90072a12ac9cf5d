"""The instances of largest |value| among very many: at most k, above a threshold, of one sign; ties by place."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]
BLOCK = 1 << 17
"""Values looked at together: half a megabyte stays in a core's cache."""


def top_k_instances(
    values: Iterable[NDArray[np.float32]], *, top_k: int | None, threshold: float = 0.0, sign: int | None = None
) -> tuple[Places, Places, Places]:
    """Layer, position and neuron of the instances of largest |value|, strongest first; `values` are the layers [T, I] in order.

    Kept are values that are not 0 or NaN, of at least `threshold` and of one `sign` where it is named; at most `top_k`. A layer is
    read block by block and let go, and a block whose largest is below the strongest so far is passed over: nearly all are, so
    that values are read about once and little memory is needed.
    """
    sizes, places = np.zeros(0, np.float32), np.zeros(0, np.int64)
    n_positions, n_neurons = 1, 1
    least = max(np.float32(threshold), np.nextafter(np.float32(0), np.float32(1)))
    for layer, of_layer in enumerate(values):
        n_positions, n_neurons = of_layer.shape
        flat = of_layer.reshape(-1)
        for start in range(0, flat.size, BLOCK):
            block = flat[start : start + BLOCK]
            if (sign != -1 and block.max() >= least) or (sign != 1 and -block.min() >= least) or np.isnan(block.max()):
                size = np.abs(block) if sign is None else block * np.float32(sign)
                chosen = np.flatnonzero(size >= least)
                sizes = np.concatenate([sizes, size[chosen]])
                places = np.concatenate([places, chosen + (layer * flat.size + start)])
                if top_k is not None and len(sizes) > top_k:
                    kept = np.lexsort((places, -sizes))[:top_k] if len(sizes) < 100_000 else _largest(sizes, top_k)
                    sizes, places = sizes[kept], places[kept]
                    least = max(least, sizes.min())
    order = np.lexsort((places, -sizes))[:top_k]
    layer, rest = np.divmod(places[order], n_positions * n_neurons)
    return layer, *np.divmod(rest, n_neurons)


def _largest(sizes: NDArray[np.float32], count: int) -> Places:
    """Where the `count` largest are, and all that equal the smallest of them."""
    return np.flatnonzero(sizes >= np.partition(sizes, len(sizes) - count)[len(sizes) - count])
