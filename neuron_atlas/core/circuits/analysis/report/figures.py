"""Figures as SVG: the circuit, the flow matrix, effects beside chance. Blue raises the goal, orange lowers it; the style sheet
holds the colours. Texts are escaped here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from neuron_atlas.core.circuits.analysis.analysis_record import AnalysisRecord, Flow
from neuron_atlas.core.circuits.analysis.report.page_parts import number, shown

BOX_WIDTH, BOX_HEIGHT, GAP, ROW = 150, 40, 16, 92
SHOWN_LINKS = 40
"""Links of the circuit that are drawn, those of largest |flow|."""
SHOWN_MODULES = 40
"""Modules of the flow matrix that are drawn, those of largest |relevance|."""


@dataclass(frozen=True, slots=True)
class _Box:
    x: float
    y: float
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One effect: its value and the mean and spread of the same change of random sets (None where there were none)."""

    name: str
    value: float
    chance: float | None
    spread: float | None


def circuit(record: AnalysisRecord) -> str:
    """Tokens at the bottom, modules by their layers, answers on top; lines as wide as their |flow|."""
    links = [
        one
        for one in record.flows
        if "rest" not in (one.source_kind, one.target_kind) and _ends(one)[0] != _ends(one)[1]
    ]
    links = links[:SHOWN_LINKS]
    if not links:
        return ""
    used = {end for one in links for end in _ends(one)}
    boxes = _boxes(record, used)
    widest = max(one.flow_abs for one in links)
    lines = "".join(_line(boxes, one, widest) for one in sorted(links, key=lambda one: one.flow_abs))
    width = max(box.x for box in boxes.values()) + BOX_WIDTH + GAP
    height = max(box.y for box in boxes.values()) + BOX_HEIGHT + GAP
    drawn = "".join(_drawn(box) for box in boxes.values())
    note = (
        f"The {len(links)} strongest flows between tokens, modules and answers; blue raises the goal, orange lowers it."
    )
    return _figure(width, height, lines + drawn, note)


def _ends(flow: Flow) -> tuple[tuple[str, int], tuple[str, int]]:
    return (flow.source_kind, flow.source), (flow.target_kind, flow.target)


def _boxes(record: AnalysisRecord, used: set[tuple[str, int]]) -> dict[tuple[str, int], _Box]:
    """A box for every part, by (kind, part)."""
    modules = {one.module: one for one in record.modules}
    levels: dict[float, list[tuple[str, int]]] = {}
    for kind, part in sorted(used):
        if kind == "module":
            one = modules[part]
            level = float(round((one.layer_min + one.layer_max) / 2))
        else:
            level = -1.0 if kind == "token" else 1e6
        levels.setdefault(level, []).append((kind, part))
    widest = max(len(row) for row in levels.values())
    boxes: dict[tuple[str, int], _Box] = {}
    for place, level in enumerate(sorted(levels, reverse=True)):
        row = levels[level]
        start = GAP + (widest - len(row)) * (BOX_WIDTH + GAP) / 2
        for column, key in enumerate(row):
            kind, part = key
            if kind == "module":
                one = modules[part]
                title = f"module {part}"
                text = ", ".join(shown(token.token) for token in one.promotes[:2]) or f"{one.size} neurons"
            elif kind == "token":
                title, text = shown(record.tokens[part]), f"token {part}"
            else:
                title, text = shown(record.answers[part].token), "answer"
            boxes[key] = _Box(start + column * (BOX_WIDTH + GAP), GAP + place * ROW, title, text)
    return boxes


def _drawn(box: _Box) -> str:
    middle = box.x + BOX_WIDTH / 2
    return (
        f'<rect class="box" x="{box.x:.0f}" y="{box.y:.0f}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6"/>'
        f'<text x="{middle:.0f}" y="{box.y + 17:.0f}" text-anchor="middle">{escape(_cut(box.title))}</text>'
        f'<text class="soft" x="{middle:.0f}" y="{box.y + 33:.0f}" text-anchor="middle">{escape(_cut(box.text))}</text>'
    )


def _line(boxes: dict[tuple[str, int], _Box], flow: Flow, widest: float) -> str:
    start, end = (boxes[key] for key in _ends(flow))
    x1, x2 = start.x + BOX_WIDTH / 2, end.x + BOX_WIDTH / 2
    y1, y2 = start.y, end.y + BOX_HEIGHT
    bend = 0.0
    if start.y <= end.y:  # of one row, or back down: round the side
        y1, y2, bend = start.y + BOX_HEIGHT / 2, end.y + BOX_HEIGHT / 2, 60.0
    middle = (y1 + y2) / 2
    name = f"{start.title} → {end.title}: {number(flow.flow)} logits ({number(flow.flow_abs)} in all)"
    return (
        f'<path class="{"raise" if flow.flow >= 0 else "lower"}" stroke-width="{0.8 + 9 * flow.flow_abs / widest:.1f}" '
        f'stroke-opacity="0.55" d="M{x1:.0f} {y1:.0f} C{x1 + bend:.0f} {middle:.0f} {x2 + bend:.0f} {middle:.0f} '
        f'{x2:.0f} {y2:.0f}"><title>{escape(name)}</title></path>'
    )


def flow_matrix(record: AnalysisRecord) -> str:
    """Signed flow between modules, source by target."""
    by_size = sorted(record.modules, key=lambda one: -abs(one.relevance))[:SHOWN_MODULES]
    order = sorted(one.module for one in by_size)
    flows = {
        (one.source, one.target): one
        for one in record.flows
        if one.source_kind == one.target_kind == "module" and {one.source, one.target} <= set(order)
    }
    if not flows:
        return ""
    size, margin = 30, 70
    largest = max(abs(one.flow) for one in flows.values()) or 1.0
    cells: list[str] = []
    for (source, target), one in sorted(flows.items()):
        x, y = margin + order.index(target) * size, margin + order.index(source) * size
        name = f"module {source} → module {target}: {number(one.flow)} logits over {one.n_links} links"
        cells.append(
            f'<rect class="{"raise" if one.flow >= 0 else "lower"}" x="{x}" y="{y}" width="{size - 2}" height="{size - 2}" '
            f'fill-opacity="{0.08 + 0.92 * abs(one.flow) / largest:.2f}"><title>{escape(name)}</title></rect>'
        )
    for place, module in enumerate(order):
        at = margin + place * size + size / 2 + 3
        cells.append(f'<text x="{margin - 8}" y="{at:.0f}" text-anchor="end">{module}</text>')
        cells.append(f'<text x="{at - 4:.0f}" y="{margin - 8}" text-anchor="middle">{module}</text>')
    cells.append(f'<text class="soft" x="2" y="{margin - 24}">from ↓ to →</text>')
    side = margin + size * len(order) + GAP
    return _figure(
        side,
        side,
        "".join(cells),
        "Flow between modules (logits of the goal); darker is more. Point at a cell for numbers.",
    )


def effects(bars: Sequence[Bar], caption: str) -> str:
    """Changes in logits, each beside the mean of random sets (grey, with one standard deviation)."""
    if not bars:
        return ""
    extremes = [0.0]
    for bar in bars:
        extremes += [
            bar.value,
            *((bar.chance - (bar.spread or 0.0), bar.chance + (bar.spread or 0.0)) if bar.chance is not None else ()),
        ]
    low, high = min(extremes), max(extremes)
    span = (high - low) or 1.0
    left, width, row = 190, 520, 34

    def at(value: float) -> float:
        return left + (value - low) / span * width

    drawn: list[str] = []
    for place, bar in enumerate(bars):
        y = 8 + place * row
        drawn.append(f'<text x="{left - 10}" y="{y + 15}" text-anchor="end">{escape(_cut(bar.name, 28))}</text>')
        drawn.append(_bar(at(0.0), at(bar.value), y, 12, "raise" if bar.value >= 0 else "lower"))
        drawn.append(f'<text class="soft" x="{left + width + 8}" y="{y + 11}">{escape(number(bar.value))}</text>')
        if bar.chance is not None:
            drawn.append(_bar(at(0.0), at(bar.chance), y + 13, 8, "chance"))
            start, end = (at(bar.chance + sign * (bar.spread or 0.0)) for sign in (-1, 1))
            drawn.append(f'<line class="whisker" x1="{start:.1f}" x2="{end:.1f}" y1="{y + 17}" y2="{y + 17}"/>')
    height = 8 + len(bars) * row
    drawn.append(f'<line class="axis" x1="{at(0.0):.1f}" x2="{at(0.0):.1f}" y1="0" y2="{height}"/>')
    return _figure(left + width + 70, height, "".join(drawn), caption)


def _bar(start: float, end: float, y: float, height: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{min(start, end):.1f}" y="{y}" width="{max(abs(end - start), 0.5):.1f}" height="{height}"/>'


def _figure(width: float, height: float, inside: str, caption: str) -> str:
    return (
        f'<figure class="wide"><svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" role="img">'
        f"{inside}</svg><figcaption>{escape(caption)}</figcaption></figure>"
    )


def _cut(text: str, most: int = 20) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
