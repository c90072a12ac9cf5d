"""Markdown from the texts of the code: what generate_reference.py and python_reference.py write with.

GitHub and the docs site read the same pages, so only what both understand the same way is used: headings, fences, pipe tables.
"""

from __future__ import annotations

import html
import inspect
import re
from collections.abc import Iterable, Sequence

_CODE_SPAN = re.compile(r"(`+[^`]+`+)")


def code(text: str) -> str:
    """A code span that may stand in a table; as HTML where it holds a pipe, which no way of escaping makes right everywhere."""
    if "|" in text:
        return f"<code>{html.escape(text, quote=False).replace('|', '&#124;')}</code>"
    return f"`{text}`" if text else ""


def fenced(text: str, language: str = "text") -> str:
    """A code block."""
    return f"```{language}\n{text}\n```"


def prose(text: str) -> str:
    """A docstring or help text as Markdown: what looks like HTML or emphasis outside of code is escaped."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(p if p.startswith("    ") else _escaped(p) for p in paragraphs)


def cell(text: str) -> str:
    """One line of text for a table."""
    return _escaped(" ".join(text.split()), pipes=True)


def _escaped(text: str, *, pipes: bool = False) -> str:
    parts = _CODE_SPAN.split(text)
    for i in range(0, len(parts), 2):
        parts[i] = parts[i].replace("<", "&lt;").replace("*", r"\*")
    joined = "".join(parts)
    return joined.replace("|", r"\|") if pipes else joined


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A pipe table; cells have to be escaped already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def slug(heading: str) -> str:
    """The anchor that GitHub and the docs site give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).strip().replace(" ", "-")
