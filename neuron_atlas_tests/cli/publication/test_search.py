"""`neuron-atlas search`: how a range of layers is written."""

from __future__ import annotations

import pytest

from neuron_atlas.cli.publication.search import layer_range
from neuron_atlas.errors import BadInput


@pytest.mark.parametrize(
    ("text", "layers"), [("3", (3, 3)), ("3..12", (3, 12)), ("3..", (3, None)), ("..12", (None, 12)), ("4..4", (4, 4))]
)
def test_a_range_holds_both_ends(text: str, layers: tuple[int | None, int | None]) -> None:
    assert layer_range(text) == layers


@pytest.mark.parametrize("text", ["", "three", "3-12", "12..3"])
def test_a_range_that_holds_nothing_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="expected"):
        layer_range(text)
