"""The strongest of many signed values: by size, a least size, and sign; ties by place."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]


def strongest(
    values: Iterable[NDArray[np.float32]], *, top_k: int | None, threshold: float = 0.0, sign: int | None = None
) -> tuple[Places, Places, Places]:
    """Layer, position and neuron of the instances of largest |value|, strongest first; `values` are the layers [T, I] in order.

    Kept are values that are not 0 or NaN, of at least `threshold` and of one `sign` where it is named; at most `top_k`. A layer is
    looked at and let go, so that little memory is needed.
    """
    sizes: list[NDArray[np.float32]] = []
    places: list[Places] = []
    n_positions, n_neurons = 1, 1
    for layer, of_layer in enumerate(values):
        n_positions, n_neurons = of_layer.shape
        flat = np.nan_to_num(of_layer.reshape(-1))
        size = np.abs(flat) if sign is None else np.maximum(flat * np.float32(sign), np.float32(0))
        least = np.float32(threshold)
        if top_k is not None and top_k < size.size:
            least = max(least, np.partition(size, size.size - top_k)[size.size - top_k])
        chosen = np.flatnonzero((size >= least) & (size > 0))
        sizes.append(size[chosen])
        places.append(chosen + layer * flat.size)
    found = np.concatenate(places)
    order = np.lexsort((found, -np.concatenate(sizes)))[:top_k]
    layer, rest = np.divmod(found[order], n_positions * n_neurons)
    return layer, *np.divmod(rest, n_neurons)
