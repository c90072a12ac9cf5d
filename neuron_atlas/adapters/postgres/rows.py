"""Rows into PostgreSQL in bulk, and texts that PostgreSQL cannot hold as they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import polars as pl
from psycopg import sql

from neuron_atlas.adapters.postgres.server import Connection

# PostgreSQL's text holds any character but NUL, which some tokens are. The first Unicode noncharacter stands in for it.
NUL, MARK = "\x00", "\ufdd0"
MARKED_NUL, MARKED_MARK = MARK + "0", MARK + "1"


def copy_rows(
    connection: Connection,
    name: sql.Identifier,
    columns: Mapping[str, str],
    rows: Iterable[Sequence[object]],
    *,
    freeze: bool = False,
) -> None:
    """Append rows with binary COPY; `columns` is name to PostgreSQL type, in the order of the rows' values.

    `freeze`, for a table made in the same transaction, spares the server a second pass over the rows and lets an index answer
    alone from the start.
    """
    statement = sql.SQL("copy {} ({}) from stdin with (format binary, freeze " + ("on)" if freeze else "off)"))
    with (
        connection.cursor() as cursor,
        cursor.copy(statement.format(name, sql.SQL(", ").join(map(sql.Identifier, columns)))) as copy,
    ):
        copy.set_types(list(columns.values()))
        for row in rows:
            copy.write_row(row)


def escape_text(text: str) -> str:
    """One text as PostgreSQL can hold it."""
    return text.replace(MARK, MARKED_MARK).replace(NUL, MARKED_NUL)


def unescape_text(text: str) -> str:
    """`escape_text` undone."""
    return text.replace(MARKED_NUL, NUL).replace(MARKED_MARK, MARK)


def escaped(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with NUL characters in texts marked, so that PostgreSQL can hold them."""
    return _replaced(frame, [MARK, NUL], [MARKED_MARK, MARKED_NUL])


def unescaped(frame: pl.DataFrame) -> pl.DataFrame:
    """`escaped` undone."""
    return _replaced(frame, [MARKED_NUL, MARKED_MARK], [NUL, MARK])


def _replaced(frame: pl.DataFrame, old: list[str], new: list[str]) -> pl.DataFrame:
    """Replacement from left to right in text columns and lists of texts."""
    plain = [n for n, t in frame.schema.items() if t == pl.String]
    lists = [n for n, t in frame.schema.items() if t == pl.List(pl.String)]
    return frame.with_columns(
        pl.col(plain).str.replace_many(old, new), pl.col(lists).list.eval(pl.element().str.replace_many(old, new))
    )
