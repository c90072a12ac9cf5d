"""Readable tokens: the text that tables show beside a token id.

Two tokens may read alike (" Salem" and "Salem"): ids are compared, texts are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import polars as pl

TokenDecoder = Callable[[int], str] | Mapping[int, str]
"""Text of a token id: a function, or a table (an id it lacks reads as `<123>`)."""


def readable_token(text: str) -> str:
    """The text without the spaces around it, control characters as escapes (`\\n`), undecodable bytes as `�`.

    Space alone reads as `␣`, once per space; no text at all as `∅`.
    """
    if not text:
        return "∅"
    if not text.strip(" "):
        return "␣" * len(text)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text.strip(" "))


def distinct_words(texts: Iterable[str]) -> list[str]:
    """The texts in order, each once; of those that differ in capitals alone the first."""
    first: dict[str, str] = {}
    for text in texts:
        first.setdefault(text.casefold(), text)
    return list(first.values())


def token_texts(ids: Iterable[int], token_text: TokenDecoder) -> pl.DataFrame:
    """Readable text of every distinct id: columns token_id (Int32) and token."""
    distinct = sorted(set(ids))
    if callable(token_text):
        shown = [readable_token(token_text(i)) for i in distinct]
    else:
        shown = [readable_token(token_text[i]) if i in token_text else f"<{i}>" for i in distinct]
    return pl.DataFrame({"token_id": distinct, "token": shown}, schema={"token_id": pl.Int32, "token": pl.String})
