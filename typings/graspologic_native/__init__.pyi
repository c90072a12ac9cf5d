"""What we use of graspologic-native, which ships compiled and without types."""

import numpy as np
from numpy.typing import NDArray

def leiden_csr(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    data: NDArray[np.float64],
    n_nodes: int,
    resolution: float = 1.0,
    randomness: float = 0.001,
    iterations: int = 1,
    use_modularity: bool = True,
    seed: int | None = None,
    trials: int = 1,
    max_local_moving_iterations: int | None = None,
) -> tuple[float, dict[int, int]]: ...
