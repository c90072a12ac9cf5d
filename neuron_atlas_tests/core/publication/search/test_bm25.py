"""Terms of texts and of queries."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from neuron_atlas.core.publication.search.bm25 import query_terms, terms_of


def test_terms_are_lower_case_words_without_plural_s():
    terms = terms_of(pl.Series(["Promotes state CAPITALS: Salem's, 42!", "is was class bus", "Île-de-France 東京", ""]))
    assert terms.to_list() == [
        ["promote", "state", "capital", "salem", "s", "42"],
        ["is", "was", "class", "bus"],
        ["île", "de", "france", "東京"],
        [],
    ]


@given(st.text(max_size=30))
def test_terms_are_the_same_in_any_case(text):
    lower, again = terms_of(pl.Series([text.lower(), text.lower().lower()]))
    assert lower.to_list() == again.to_list()


def test_function_words_are_looked_for_only_where_there_are_no_others() -> None:
    assert query_terms("the names of cities in this state") == ["name", "city", "state"]
    assert query_terms("is, has, does") == ["is", "has", "doe"]
    assert query_terms("of") == ["of"]
    assert query_terms("...") == []


def test_words_that_compare_are_function_words_too() -> None:
    assert query_terms("there are more rivers than cities, such as these") == ["more", "river", "city"]
