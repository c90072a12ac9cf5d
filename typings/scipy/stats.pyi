from typing import Any

import numpy as np
from numpy.typing import NDArray

def rankdata(a: NDArray[np.floating[Any]], *, axis: int | None = None) -> NDArray[np.float64]: ...
