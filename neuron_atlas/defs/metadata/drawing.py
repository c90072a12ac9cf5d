"""Small plots and tables for the Dagster UI, as markdown: how they are drawn, whatever they show.

Plots are SVG inside an image link, which the UI renders and cannot execute. Text that comes from prompts, tokens or labels
is escaped: it may be anything.
"""

from __future__ import annotations

import base64
import io
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

INK = "#4F43DD"
STROKES = ("-", "--", "-.", ":")
"""Lines of one plot differ by these."""
MAX_CELL = 80
MAX_TICKS, MAX_TICK = 16, 14
"""Names beside an axis of shades, and characters of each."""


def histogram(values: Sequence[float], *, title: str, unit: str, bins: int = 30) -> str:
    """A histogram of finite values as a markdown image; a sentence when there are none."""
    if not values:
        return f"{escaped(title)}: no values"
    figure, axes = _canvas(title)
    axes.hist(values, bins=bins, color=INK)
    axes.set_xlabel(unit)
    axes.set_ylabel("count")
    return _image(figure, title)


def bars(names: Sequence[str], values: Sequence[float], *, title: str, unit: str) -> str:
    """One bar per name as a markdown image; a sentence when there are none."""
    if not names:
        return f"{escaped(title)}: no values"
    figure, axes = _canvas(title)
    places = list(range(len(names)))
    axes.bar(places, list(values), color=INK)
    axes.set_xticks(
        places, [plain(name) for name in names], rotation=45 if len(names) > 6 else 0, fontsize=8, parse_math=False
    )
    axes.set_ylabel(unit)
    return _image(figure, title)


def heatmap(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float]],
    *,
    title: str,
    unit: str,
    x_unit: str,
    y_unit: str,
) -> str:
    """Numbers [rows, columns], not negative, as shades of their square root (small ones stay visible), darkest largest, as a
    markdown image; a sentence when there are none."""
    if not rows or not columns:
        return f"{escaped(title)}: no values"
    from matplotlib.colors import PowerNorm

    figure, axes = _canvas(title)
    norm = PowerNorm(0.5, vmin=0.0)
    shades = axes.imshow([list(row) for row in values], cmap="Purples", norm=norm, aspect="auto")
    for names, set_ticks in ((columns, axes.set_xticks), (rows, axes.set_yticks)):
        step = -(-len(names) // MAX_TICKS)
        texts = [_short(plain(name)) for name in names[::step]]
        set_ticks(list(range(0, len(names), step)), texts, fontsize=7, parse_math=False)
    axes.set_xlabel(x_unit)
    axes.set_ylabel(y_unit)
    figure.colorbar(shades, label=unit)
    return _image(figure, title)


def outlines(series: Mapping[str, NDArray[np.float64]], *, title: str, x_unit: str, y_unit: str, bins: int = 40) -> str:
    """Histograms of positive values on a logarithmic axis, one outline per name over the same bins, as a markdown image; a sentence
    when there are none."""
    drawn = {name: values[values > 0] for name, values in series.items()}
    every = np.concatenate([*drawn.values(), np.empty(0)])
    if not len(every):
        return f"{escaped(title)}: no values"
    edges = np.histogram_bin_edges(np.log10(every), bins)
    figure, axes = _canvas(title)
    for place, (name, values) in enumerate(drawn.items()):
        counts, _ = np.histogram(np.log10(values), edges)
        axes.stairs(counts, 10**edges, color=INK, linestyle=STROKES[place % len(STROKES)], label=plain(name))
    axes.set_xscale("log")
    axes.set_xlabel(x_unit)
    axes.set_ylabel(y_unit)
    _legend(axes)
    return _image(figure, title)


def at_least(series: Mapping[str, NDArray[np.float64]], *, title: str, x_unit: str, y_unit: str) -> str:
    """Which share of the positive values is x or more, one line per name, both axes logarithmic, as a markdown image; a sentence
    when there are none."""
    drawn = {name: np.unique(values[values > 0], return_counts=True) for name, values in series.items()}
    if not any(len(values) for values, _ in drawn.values()):
        return f"{escaped(title)}: no values"
    figure, axes = _canvas(title)
    for place, (name, (values, counts)) in enumerate(drawn.items()):
        share = counts[::-1].cumsum()[::-1] / max(counts.sum(), 1)
        axes.step(values, share, where="pre", color=INK, linestyle=STROKES[place % len(STROKES)], label=plain(name))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(x_unit)
    axes.set_ylabel(y_unit)
    _legend(axes)
    return _image(figure, title)


def scatter(x: Sequence[float], y: Sequence[float], *, title: str, x_unit: str, y_unit: str) -> str:
    """Points as a markdown image; a sentence when there are none."""
    if not x:
        return f"{escaped(title)}: no values"
    figure, axes = _canvas(title)
    axes.scatter(list(x), list(y), s=14, color=INK, alpha=0.6)
    axes.set_xlabel(x_unit)
    axes.set_ylabel(y_unit)
    return _image(figure, title)


def curves(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, title: str, x_unit: str, y_unit: str
) -> str:
    """One line of (x, y) per name, x on a logarithmic axis, as a markdown image; a sentence when there are none."""
    if not lines:
        return f"{escaped(title)}: no values"
    figure, axes = _canvas(title)
    for place, (name, (x, y)) in enumerate(lines.items()):
        axes.plot(
            list(x),
            list(y),
            marker="o",
            markersize=3,
            color=INK,
            label=plain(name),
            linestyle=STROKES[place % len(STROKES)],
        )
    axes.set_xscale("log", base=2)
    axes.set_xlabel(x_unit)
    axes.set_ylabel(y_unit)
    _legend(axes)
    return _image(figure, title)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A markdown table with every cell escaped."""
    lines = [_row(header), "|" + "---|" * len(header), *(_row([_shown(cell) for cell in row]) for row in rows)]
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Text that markdown shows as it stands, on one line, at most MAX_CELL characters."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|<>&~$])", lambda m: f"&#{ord(m[1])};", plain(text))


def plain(text: str) -> str:
    """Text on one line, without control characters, at most MAX_CELL characters."""
    text = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]", "␣", text)
    return text if len(text) <= MAX_CELL else text[: MAX_CELL - 1] + "…"


def _shown(cell: object) -> str:
    return f"{cell:.3g}" if isinstance(cell, float) else str(cell) if cell is not None else "–"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(escaped(cell) for cell in cells) + " |"


def _canvas(title: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 2.6))
    axes = figure.add_axes((0.14, 0.24, 0.82, 0.62))
    axes.set_title(plain(title), fontsize=10, parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _legend(axes: Axes) -> None:
    for text in axes.legend(fontsize=7, frameon=False).get_texts():
        text.set_parse_math(False)


def _short(name: str) -> str:
    """A name that fits beside an axis."""
    return name if len(name) <= MAX_TICK else name[: MAX_TICK - 1] + "…"


def _image(figure: Figure, title: str) -> str:
    import matplotlib

    stream = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "neuron_atlas"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # text stays text: the browser draws it
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return f"![{escaped(title)}](data:image/svg+xml;base64,{base64.b64encode(stream.getvalue()).decode()})"
