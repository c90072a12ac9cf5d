"""Layers as people write them: one grammar, read and written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuron_atlas.core.layer_ranges import LAYER_FORMS, LayerRange, LayerRanges
from neuron_atlas.errors import BadInput

LAYER = st.integers(0, 99)
RANGE = st.one_of(
    st.tuples(st.none() | LAYER, st.none() | LAYER).filter(lambda ends: None in ends),
    st.tuples(LAYER, LAYER).map(lambda ends: (min(ends), max(ends))),
)


@pytest.mark.parametrize(
    ("text", "layers"), [("3", (3, 3)), ("3..12", (3, 12)), ("3..", (3, None)), ("..12", (None, 12)), ("4..4", (4, 4))]
)
def test_a_range_holds_both_ends(text: str, layers: LayerRange) -> None:
    assert LayerRanges.parse(text).ranges == (layers,)


@pytest.mark.parametrize("text", ["", "three", "3-12", "12..3", "2,", ",2", "3.12", "-1", "1 2", "L", "L18/N2", "²"])
def test_a_range_that_holds_nothing_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="expected"):
        LayerRanges.parse(text)


def test_a_list_holds_each_of_its_ranges() -> None:
    layers = LayerRanges.parse("2, 4..6,9..")
    assert layers.ranges == ((2, 2), (4, 6), (9, None))
    assert [layer for layer in range(12) if layer in layers] == [2, 4, 5, 6, 9, 10, 11]
    assert layers.of_model(10) == [2, 4, 5, 6, 9]


def test_layers_may_be_written_with_their_letter() -> None:
    assert LayerRanges.parse("L2..L5").ranges == LayerRanges.parse("2..5").ranges
    assert LayerRanges.parse("L03,L5..").ranges == ((3, 3), (5, None))


def test_a_dash_is_refused_with_the_right_spelling() -> None:
    with pytest.raises(BadInput, match=r"Write 2\.\.5 for a range"):
        LayerRanges.parse("2-5")


def test_every_form_of_the_help_text_is_read() -> None:
    forms = LAYER_FORMS.partition(";")[0].replace(" or a list such as", ",").split(", ")
    assert [LayerRanges.parse(form).ranges for form in forms] == [
        ((5, 5),),
        ((3, 12),),
        ((3, None),),
        ((None, 12),),
        ((2, 2), (4, 6)),
    ]


def test_ends_that_the_model_lacks_are_refused() -> None:
    assert LayerRanges.parse("4..").of_model(6) == [4, 5]
    assert LayerRanges.parse("5,1..2,2").of_model(6) == [1, 2, 5]
    for text in ("6", "2..7", "..9", "6..", "1,8"):
        with pytest.raises(BadInput, match=r"not in the model, which has layers 0\.\.5"):
            LayerRanges.parse(text).of_model(6)


def test_text_a_pair_and_ranges_name_the_same() -> None:
    assert LayerRanges.of("2..4") == LayerRanges.of((2, 4)) == LayerRanges.of(LayerRanges(((2, 4),)))
    assert LayerRanges.union([LayerRanges.of("2"), LayerRanges.of("4..6")]) == LayerRanges.parse("2,4..6")


@given(st.lists(RANGE, min_size=1, max_size=5))
def test_what_is_written_is_read_back(ranges: list[LayerRange]) -> None:
    layers = LayerRanges(tuple(ranges))
    assert LayerRanges.parse(str(layers)) == layers


@given(st.lists(RANGE, min_size=1, max_size=5), st.integers(100, 120))
def test_the_layers_of_a_model_are_those_inside(ranges: list[LayerRange], n_layers: int) -> None:
    layers = LayerRanges(tuple(ranges))
    found = layers.of_model(n_layers)
    assert found == sorted(set(found))
    assert set(found) == {layer for layer in range(n_layers) if layer in layers}
