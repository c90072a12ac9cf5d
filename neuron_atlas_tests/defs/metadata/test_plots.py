"""Pictures and tables for the UI: never executable, never broken by what a token or prompt contains."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuron_atlas.core.tables import DER_SCORES, EDGE_STATS, NEURON_PROFILES, tables_of
from neuron_atlas.defs.checks.before_storing import CHECKS
from neuron_atlas.defs.metadata import charts as pictures
from neuron_atlas.defs.metadata.asset_metadata import describe
from neuron_atlas.defs.metadata.plots import (
    MAX_CELL,
    at_least,
    bars,
    curves,
    escaped,
    heatmap,
    histogram,
    markdown_table,
    outlines,
    plain,
    scatter,
)

Rows = Callable[..., pl.DataFrame]


def svg_of(markdown: str) -> str:
    match = re.fullmatch(r"!\[[^\]]*\]\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", markdown)
    assert match is not None
    return base64.b64decode(match[1]).decode()


@given(st.text())
def test_escaped_text_has_no_markdown_no_html_and_one_line(text: str):
    shown = re.sub(r"&#\d+;", "", escaped(text))
    assert not set(shown) & set("\\`*_{}[]()#+-.!|<>&~$\n\r\t")


@given(st.text())
def test_plain_text_is_short_and_on_one_line(text: str):
    assert len(plain(text)) <= MAX_CELL
    assert len(plain(text).splitlines()) <= 1


def test_a_hostile_token_stays_a_cell():
    lines = markdown_table(["token"], [["</td><script>alert(1)</script>|![x](http://e.org/x.svg)\n| a"]]).splitlines()
    assert len(lines) == 3
    assert lines[2].count("|") == 2
    assert "<" not in lines[2]


def test_numbers_and_missing_values_are_readable():
    assert markdown_table(["a", "b", "c"], [[0.123456, None, 7]]).splitlines()[2] == "| 0&#46;123 | – | 7 |"


def test_plots_are_svg_and_the_same_every_time():
    assert "<svg" in svg_of(histogram([1.0, 2.0, 2.5], title="t", unit="u"))
    assert bars(["a", "b"], [1, 2], title="t", unit="u") == bars(["a", "b"], [1, 2], title="t", unit="u")
    assert "<svg" in svg_of(scatter([1.0], [2.0], title="t", x_unit="x", y_unit="y"))
    drawn = svg_of(curves({"$\\frac{": ([1, 2], [0.5, 1.0]), "b": ([2], [0])}, title="t", x_unit="x", y_unit="y"))
    assert "<svg" in drawn
    assert ">b</text>" in drawn
    names = {"title": "t", "unit": "logits", "x_unit": "to", "y_unit": "from"}
    shades = svg_of(heatmap(["3"], ["3", "$\\frac{"], [[0.0, 2.0]], **names))
    assert ">3</text>" in shades


def test_a_name_cannot_break_out_of_a_plot():
    svg = svg_of(bars(["</text><script>x</script>", "$\\frac{"], [1, 2], title="<b>$x", unit="n"))
    assert "<script" not in svg


def test_no_values_is_a_sentence():
    assert histogram([], title="DER", unit="u") == "DER: no values"
    assert heatmap([], [], [], title="DER", unit="u", x_unit="x", y_unit="y") == "DER: no values"
    assert curves({}, title="DER", x_unit="u", y_unit="v") == "DER: no values"


def test_ratios_and_specialists_are_shares_of_their_layer(rows_of: Rows, monkeypatch: pytest.MonkeyPatch):
    """L0 has ratios 0, 0.19 and 1, L1 only 0.5; of its four rows L0 has one specialist of sums, one unsure."""
    drawn: dict[str, Any] = {}

    def caught(rows: list[str], columns: list[str], values: list[list[float]], **names: str) -> str:
        drawn.update(rows=rows, columns=columns, values=values)
        return ""

    monkeypatch.setattr(pictures, "heatmap", caught)
    ratios = [(0, 0, 0.0), (0, 1, 0.19), (0, 2, 1.0), (1, 0, 0.5)]
    pictures.ratio_by_layer(rows_of(DER_SCORES, *({"layer": x, "neuron": n, "der": der} for x, n, der in ratios)))
    assert drawn["rows"] == ["L0", "L1"]
    assert drawn["values"][0] == [1 / 3, 1 / 3, 0, 0, 0, 0, 0, 0, 0, 1 / 3]
    assert drawn["values"][1] == [0, 0, 0, 0, 0, 1, 0, 0, 0, 0]

    profiles = [{"neuron": 0, "domain": "sums", "domain_z": 4.0}, {"neuron": 1, "domain": "words", "domain_z": 1.0}]
    pictures.specialists(rows_of(NEURON_PROFILES, *profiles, {"neuron": 2}, {"neuron": 3}))
    assert (drawn["rows"], drawn["columns"], drawn["values"]) == (["L0"], ["sums"], [[0.25]])


def test_distributions_have_a_line_for_each_direction_and_sign(rows_of: Rows):
    ends = {"source_kind": "neuron", "target_kind": "neuron"}
    rows = (
        {**ends, "source": s, "target": t, "weight_mean": w} for s, t, w in ((0, 1, 0.5), (0, 2, -2.0), (1, 2, 0.0))
    )
    edges = rows_of(EDGE_STATS, *rows)
    assert ">out</text>" in svg_of(pictures.degrees(edges))
    assert ">inhibits</text>" in svg_of(pictures.weights(edges))
    assert at_least({"in": np.array([0.0])}, title="t", x_unit="x", y_unit="y") == "t: no values"
    assert outlines({"a": np.zeros(2)}, title="t", x_unit="x", y_unit="y") == "t: no values"


@pytest.mark.parametrize("asset", CHECKS)
def test_empty_tables_can_be_described(asset: str):
    assert describe(asset, {table.name: table.empty() for table in tables_of(asset)})
