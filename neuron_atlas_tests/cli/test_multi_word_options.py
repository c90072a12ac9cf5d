"""Several words after one option, up to the next option."""

from __future__ import annotations

import pytest

from neuron_atlas.cli.multi_word_options import repeat_options

OPTIONS = {"--target-tokens", "--slug", "--k", "-o"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("p --target-tokens A B --slug s", "p --target-tokens A --target-tokens B --slug s"),
        ("p --target-tokens A", "p --target-tokens A"),
        ("--target-tokens=A B -o out p", "--target-tokens A --target-tokens B -o out p"),
        (
            "p --target-tokens A --k 3 --target-tokens B C",
            "p --target-tokens A --k 3 --target-tokens B --target-tokens C",
        ),
        ("--target-tokens A B -- p --target-tokens", "--target-tokens A --target-tokens B -- p --target-tokens"),
        ("p --target-tokens -5 -o out", "p --target-tokens -5 -o out"),
        ("p --target-tokens A --unknown B", "p --target-tokens A --unknown B"),
        ("p --target-tokens", "p --target-tokens"),
        ("p --slug A B", "p --slug A B"),
    ],
)
def test_the_option_is_repeated_for_each_of_its_words(line: str, expected: str) -> None:
    assert list(repeat_options(line.split(), multi_word={"--target-tokens"}, options=OPTIONS)) == expected.split()
