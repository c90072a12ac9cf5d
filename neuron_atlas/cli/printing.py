"""How the command line prints: rich tables for people, JSON for machines; no colour in a pipe.

`out` is stdout, for results; `progress` is stderr, for progress and notes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence

import click
import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPE_WIDTH = 140
"""Width of a table, in characters, where there is no terminal."""


class _Output(Console):
    """A console whose reader may leave, as `| head` does: that is no failure of ours (rich would end with 1)."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


out = _Output(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
progress = Console(stderr=True, highlight=False)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
limit_option = click.option(
    "--limit", type=click.IntRange(1, 100_000), default=20, show_default=True, help="Most rows."
)


def print_json(value: object) -> None:
    """One JSON document on stdout; NaN and infinities as null."""
    click.echo(json.dumps(_plain(value), ensure_ascii=False, indent=1, default=str))


def print_frame(
    frame: pl.DataFrame, *, title: str = "", columns: Sequence[str] | None = None, empty: str = "none"
) -> None:
    """A frame as a table; numbers to the right, floats with four digits, long text wrapped at words."""
    shown = frame.select(columns) if columns else frame
    if shown.is_empty():
        out.print(Text(f"{title + ': ' if title else ''}{empty}", style="dim"))
        return
    numeric = {c for c, t in shown.schema.items() if t.is_numeric()}
    table = Table(
        title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False, show_edge=False
    )
    for column in shown.columns:
        side = "right" if column in numeric else "left"
        table.add_column(column, justify=side, overflow="ellipsis", no_wrap=column in numeric or column.endswith("_id"))
    for row in shown.iter_rows():
        table.add_row(*(Text(cell(value)) for value in row))
    out.print(table)


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Name and value, one a line, aligned."""
    table = Table.grid(padding=(0, 2))
    for name, value in facts:
        table.add_row(Text(name, style="dim"), value if isinstance(value, Text) else Text(cell(value)))
    out.print(table)


def cell(value: object) -> str:
    """One value as text; control characters are shown, never sent to the terminal."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(cell(v) for v in value)
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(value))


def highlighted(
    tokens: Sequence[str], activations: Sequence[float], *, peak: int | None = None, around: int = 24
) -> Text:
    """Token texts shaded by activation (of the sign of the peak), the strongest bold, cut to a window around the peak."""
    if peak is None:
        peak = max(range(len(activations)), key=lambda i: abs(activations[i]))
    sign = 1.0 if activations[peak] >= 0 else -1.0
    top = max((a * sign for a in activations), default=0.0) or 1.0
    start, stop = max(0, peak - around), min(len(tokens), peak + around // 2 + 1)
    line = Text("… " if start else "")
    for position in range(start, stop):
        strength = activations[position] * sign / top
        style = "bold black on yellow" if strength > 0.66 else "black on bright_yellow" if strength > 0.33 else ""
        line.append(cell(tokens[position]), style=style)
    return line + Text(" …" if stop < len(tokens) else "")


def _plain(value: object) -> object:
    if isinstance(value, pl.DataFrame):
        return [_plain(row) for row in value.iter_rows(named=True)]
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
