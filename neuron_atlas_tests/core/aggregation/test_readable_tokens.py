"""Token texts for reading."""

from __future__ import annotations

import pytest

from neuron_atlas.core.aggregation.readable_tokens import distinct_words, readable_token, token_texts


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" Salem", "Salem"),
        ("Salem", "Salem"),
        ("\n", "\\n"),
        (" a\tb ", "a\\tb"),
        ("  ", "␣␣"),
        ("", "∅"),
        ("é", "é"),
        ("\x00", "\\x00"),
    ],
)
def test_a_token_reads_on_one_line(text: str, shown: str) -> None:
    assert readable_token(text) == shown


def test_ids_without_text_read_as_their_number() -> None:
    assert token_texts([3, 1, 3], {1: " one"}).rows() == [(1, "one"), (3, "<3>")]
    assert token_texts([2], lambda i: f" t{i}").rows() == [(2, "t2")]


def test_tokens_that_read_alike_are_one_word() -> None:
    assert distinct_words(["Salem", "the", "salem", "The", "Salem"]) == ["Salem", "the"]
