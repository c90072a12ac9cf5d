"""One thread for small models.

The runs of a small model are thousands of products too short to share: handing them to several threads gains little, and on a
machine that is busy with other work the threads wait for each other (the demo model, two busy cores: 17.5 s with two threads,
1.6 s with one). One thread also sums in one order, so that the same arguments give the same rows on any number of cores.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch

SMALL_WIDTH = 512
"""Width of the residual stream up to which a model counts as small."""


def use_suited_threads(width: int) -> None:
    """One torch thread from now on in this process, for a model of this width when it is small."""
    if width <= SMALL_WIDTH:
        torch.set_num_threads(1)


@contextmanager
def suited_threads(width: int) -> Generator[None]:
    """One torch thread for what runs inside when a model of this width is small; the number from before afterwards."""
    before = torch.get_num_threads()
    use_suited_threads(width)
    try:
        yield
    finally:
        torch.set_num_threads(before)
