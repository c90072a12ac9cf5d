"""A study's summary, counted by hand."""

from __future__ import annotations

import pytest

from neuron_atlas.core.circuits.analysis.interventions.study_summary import rate


def test_a_rate_has_its_wilson_interval() -> None:
    """8 of 10: (0.8 + 0.192) / 1.384 ± 1.96 sqrt(0.016 + 0.0096) / 1.384."""
    found = rate(8, 10)
    assert found is not None
    assert (found.share, found.low, found.high) == (
        0.8,
        pytest.approx(0.490, abs=0.001),
        pytest.approx(0.943, abs=0.001),
    )
    assert rate(0, 0) is None
    assert rate(0, 5).low == 0.0  # pyright: ignore[reportOptionalMemberAccess]
