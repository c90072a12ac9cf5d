"""Pictures and tables for the UI: never executable, never broken by what a token or prompt contains."""

from __future__ import annotations

import base64
import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from neuron_atlas.defs.metadata.drawing import (
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
    assert at_least({"in": np.array([0.0])}, title="t", x_unit="x", y_unit="y") == "t: no values"
    assert outlines({"a": np.zeros(2)}, title="t", x_unit="x", y_unit="y") == "t: no values"
