"""Given labels (by people, or imported) as rows of a label table: their token ids looked up, and joined with the rows made here."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl


def ids_by_text(token_text: Mapping[int, str]) -> Mapping[str, int]:
    """Token ids by text without blanks around it; the smallest id where several read alike."""
    return {text.strip(): token for token, text in sorted(token_text.items(), reverse=True)}


def with_token_ids(given: pl.DataFrame, by_text: Mapping[str, int]) -> pl.DataFrame:
    """Rows of a label table with one id per token: looked up where only texts are known; an unknown text is left out."""
    tokens: list[list[str]] = []
    ids: list[list[int]] = []
    for texts, known in given.select("tokens", "token_ids").iter_rows():
        pairs = (
            list(zip(texts, known, strict=True))
            if known
            else [(t, by_text[t.strip()]) for t in texts if t.strip() in by_text]
        )
        tokens.append([text for text, _ in pairs])
        ids.append([token for _, token in pairs])
    return given.with_columns(
        tokens=pl.Series(tokens, dtype=given.schema["tokens"]),
        token_ids=pl.Series(ids, dtype=given.schema["token_ids"]),
    )


def join_given(made: pl.DataFrame, given: pl.DataFrame) -> pl.DataFrame:
    """The rows made here and the given ones; of one neuron's rows under one labeler, the given one stays."""
    rows = pl.concat([given.select(made.columns), made], how="vertical_relaxed")
    return rows.unique(("layer", "neuron", "polarity", "labeler"), keep="first", maintain_order=True)
