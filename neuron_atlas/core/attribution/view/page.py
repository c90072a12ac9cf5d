"""The page of a graph, and the cell that a notebook shows."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from html import escape
from importlib.resources import files

from neuron_atlas.core.attribution.exchange.graph_rows import graph_rows
from neuron_atlas.core.attribution.view.page_data import page_data
from neuron_atlas.core.json_types import JsonValue
from neuron_atlas.core.records import NO_LABELS, AttributionGraph, NeuronLabels

CELL_HEIGHT = 720
"""Pixels of the view in a notebook."""
CELL_NEURONS = 8
"""Neurons in the table above it, which is readable where scripts do not run."""


def graph_page(graph: AttributionGraph, *, labels: NeuronLabels = NO_LABELS) -> str:
    """An HTML page that shows the graph: inline data, style and script, no request, a policy that allows nothing else."""
    script, style = _part("graph.js"), _part("graph.css")
    title = escape(graph.prompt.text[:80] or "empty prompt")
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; base-uri 'none'; form-action 'none'"
    )
    return (
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title} · neuron_atlas</title>\n<style>{style}</style></head>\n<body>\n"
        f"<noscript>This page draws the graph of “{title}” with a script; allow scripts to see it.</noscript>\n"
        '<main id="app"></main>\n'
        f'<script type="application/json" id="graph">{script_safe(page_data(graph, labels=labels))}</script>\n'
        f"<script>{script}</script>\n</body></html>\n"
    )


def graph_cell(graph: AttributionGraph, *, labels: NeuronLabels = NO_LABELS) -> str:
    """HTML for a notebook cell: a table of the strongest neurons, and the page in a frame of its own."""
    rows = graph_rows(graph)
    answers = ", ".join(f"{a.token!r} {a.probability:.2%}" for a in rows.logits.values())
    strongest = sorted(rows.of_kind("neuron"), key=lambda row: -abs(row.relevance))[:CELL_NEURONS]
    body = "".join(
        f"<tr><td>{escape(row.text(labels))}</td><td>{escape(graph.summary.tokens[row.position])}</td>"
        f"<td>{row.activation:.3g}</td><td>{row.relevance:.3g}</td></tr>"
        for row in strongest
    )
    return (
        f"<p><b>{escape(graph.prompt.text)}</b> → {escape(answers)}</p>"
        f"<table><tr><th>neuron</th><th>at token</th><th>activation</th><th>relevance (logits)</th></tr>{body}</table>"
        f'<iframe sandbox="allow-scripts" title="attribution graph" width="100%" height="{CELL_HEIGHT}" '
        f'frameborder="0" srcdoc="{escape(graph_page(graph, labels=labels))}"></iframe>'
    )


def script_safe(value: JsonValue) -> str:
    """JSON that can stand in a script element: nothing in it can end the element or begin a comment."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _hash(text: str) -> str:
    """A source expression of the content security policy: the sha256 of an inline element."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _part(name: str) -> str:
    return files("neuron_atlas.core.attribution.view").joinpath(name).read_text(encoding="utf-8")
