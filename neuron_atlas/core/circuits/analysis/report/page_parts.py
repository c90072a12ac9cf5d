"""The frame of a page, and the parts that pages share: sections, tables, lists of facts, readable numbers and tokens.

These functions return HTML; what they take is plain text unless it is called html.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from importlib.resources import files


def page(title: str, html: Iterable[str]) -> str:
    """A page of its own: style inside, no script, a policy that allows nothing else."""
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return (
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title[:80] or 'empty prompt')} · neuron_atlas</title>\n<style>{style}</style></head>\n"
        f"<body><main>\n{chr(10).join(html)}\n</main></body></html>\n"
    )


def section(title: str, *html: str) -> str:
    """A section under a heading; empty where it has no content."""
    inside = "\n".join(part for part in html if part)
    return f"<section><h2>{escape(title)}</h2>\n{inside}</section>" if inside else ""


def paragraph(text: str, *, kind: str = "") -> str:
    """A paragraph of plain text; `kind` is a class of the style."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Names and values."""
    inside = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows)
    return f"<dl>{inside}</dl>"


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, caption: str = "") -> str:
    """A table; numbers are aligned to the right, a missing value is a dash. Empty without rows."""
    body = "".join("<tr>" + "".join(_cell(value) for value in row) + "</tr>" for row in rows)
    if not body:
        return ""
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f'<div class="wide"><table>{title}<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'


def folded(summary: str, html: str) -> str:
    """Content that is folded until the reader opens it."""
    return f"<details><summary>{escape(summary)}</summary>{html}</details>" if html else ""


def number(value: float | None) -> str:
    """A number in three to four digits; a dash where it is missing."""
    return "–" if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def shown(token: str) -> str:
    """A token as it can be read: its leading space as ␣, control characters as escapes."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in token)
    return "␣" + text[1:] if text.startswith(" ") and len(text) > 1 else text or "∅"


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return f"<td>{'yes' if value else ''}</td>"
    if value is None or isinstance(value, int | float):
        return f'<td class="number">{number(value)}</td>'
    return f"<td>{escape(str(value))}</td>"


@cache
def _style() -> str:
    return files("neuron_atlas.core.circuits.analysis.report").joinpath("report.css").read_text(encoding="utf-8")
