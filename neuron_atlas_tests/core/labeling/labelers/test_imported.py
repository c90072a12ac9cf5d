"""Labels from elsewhere become ours, or are refused with the reason."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuron_atlas.core.labeling.labelers.imported import ImportedLabel, as_label
from neuron_atlas.core.records import NeuronId
from neuron_atlas.errors import BadInput


def imported(text: str, **more: object) -> ImportedLabel:
    given_fields = {"neuron": NeuronId(3, 7), "polarity": 1, "side": "input", "origin": "transluce", **more}
    return ImportedLabel(text=text, **given_fields)


def test_a_short_text_is_the_label_and_the_description() -> None:
    made = as_label(imported("names of  capital cities\n"))
    assert (made.label, made.description, made.type) == (
        "names of capital cities",
        "names of capital cities",
        "unknown",
    )


def test_a_long_text_is_cut_at_a_word_and_kept_whole_beside() -> None:
    text = "activation on names of European capital cities when a question about a country came before"
    made = as_label(imported(text, type="context", confidence=1.4))
    assert made.label == "activation on names of European capital cities when…"
    assert made.description == text
    assert (made.type, made.confidence) == ("context", 1.0)


def test_one_word_says_what_it_is_about() -> None:
    assert as_label(imported("Paris")).label == "fires on Paris"
    assert as_label(imported("Paris", side="output")).label == "promotes Paris"


def test_the_other_sides_type_is_unknown() -> None:
    assert as_label(imported("names of cities", side="output", type="context")).type == "unknown"


@pytest.mark.parametrize(
    "text", ["", "   ", "see https://evil.example now", "names \x07of cities", "a <b>bold</b> claim"]
)
def test_what_may_not_stand_in_a_label_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"transluce label of L3/N7"):
        as_label(imported(text))


@given(st.text(max_size=600), st.text(max_size=900))
def test_every_text_is_taken_over_or_refused(text: str, description: str) -> None:
    with suppress(BadInput):
        as_label(imported(text, description=description))
