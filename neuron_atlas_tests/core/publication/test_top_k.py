"""The strongest values, against sorting all of them."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from neuron_atlas.core.publication.top_k import top_k_instances


@given(
    seed=st.integers(0, 10_000),
    top_k=st.sampled_from([None, 1, 5, 40, 100]),
    sign=st.sampled_from([None, 1, -1]),
    threshold=st.sampled_from([0.0, 0.5]),
    block=st.sampled_from([1, 7, 1000]),
)
@settings(max_examples=60, deadline=None)
def test_they_are_the_first_of_all_when_sorted(seed, top_k, sign, threshold, block) -> None:
    random = np.random.default_rng(seed)
    values = np.round(random.normal(size=(3, 4, 5)), 1).astype(np.float32)  # many are equal, some 0
    values[random.random(values.shape) < 0.1] = np.nan
    size = {place: abs(v) if sign is None else v * sign for place, v in np.ndenumerate(values)}
    passing = [place for place, s in size.items() if s > 0 and s >= np.float32(threshold)]
    expected = sorted(passing, key=lambda place: (-size[place], place))[:top_k]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{top_k_instances.__module__}.BLOCK", block)
        found = top_k_instances(values, top_k=top_k, threshold=threshold, sign=sign)
    assert list(zip(*(part.tolist() for part in found), strict=True)) == expected
