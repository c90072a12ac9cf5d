"""What of a label is embedded."""

from __future__ import annotations

from neuron_atlas.core.publication.search.label_records import text_to_embed


def test_the_opening_and_the_quotes_of_a_label_are_not_embedded() -> None:
    assert text_to_embed("promotes “Ohio”, “Texas” and “run”") == "Ohio, Texas and run"
    assert text_to_embed("fires on “is” after “capital”") == "is after capital"
    assert text_to_embed("promotes capital-related words: Salem, Boise") == "capital-related words: Salem, Boise"
    assert text_to_embed("names of US states") == "names of US states"
    assert text_to_embed("promotes “”") == "promotes “”"  # nothing would be left
