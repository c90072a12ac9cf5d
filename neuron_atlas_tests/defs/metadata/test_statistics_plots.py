"""Plots of the statistics tables show the right numbers."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from neuron_atlas.core.tables import DER_SCORES, EDGE_STATS, NEURON_PROFILES
from neuron_atlas.defs.metadata import statistics_plots

Rows = Callable[..., pl.DataFrame]


def _svg(markdown: str) -> str:
    return base64.b64decode(markdown.partition("base64,")[2].removesuffix(")")).decode()


def test_ratios_and_specialists_are_shares_of_their_layer(rows_of: Rows, monkeypatch: pytest.MonkeyPatch):
    """L0 has ratios 0, 0.19 and 1, L1 only 0.5; of its four rows L0 has one specialist of sums, one unsure."""
    drawn: dict[str, Any] = {}

    def caught(rows: list[str], columns: list[str], values: list[list[float]], **names: str) -> str:
        drawn.update(rows=rows, columns=columns, values=values)
        return ""

    monkeypatch.setattr(statistics_plots, "heatmap", caught)
    ratios = [(0, 0, 0.0), (0, 1, 0.19), (0, 2, 1.0), (1, 0, 0.5)]
    statistics_plots.ratio_by_layer(
        rows_of(DER_SCORES, *({"layer": x, "neuron": n, "der": der} for x, n, der in ratios))
    )
    assert drawn["rows"] == ["L0", "L1"]
    assert drawn["values"][0] == [1 / 3, 1 / 3, 0, 0, 0, 0, 0, 0, 0, 1 / 3]
    assert drawn["values"][1] == [0, 0, 0, 0, 0, 1, 0, 0, 0, 0]

    profiles = [{"neuron": 0, "domain": "sums", "domain_z": 4.0}, {"neuron": 1, "domain": "words", "domain_z": 1.0}]
    statistics_plots.specialists(rows_of(NEURON_PROFILES, *profiles, {"neuron": 2}, {"neuron": 3}))
    assert (drawn["rows"], drawn["columns"], drawn["values"]) == (["L0"], ["sums"], [[0.25]])


def test_distributions_have_a_line_for_each_direction_and_sign(rows_of: Rows):
    ends = {"source_kind": "neuron", "target_kind": "neuron"}
    rows = (
        {**ends, "source": s, "target": t, "weight_mean": w} for s, t, w in ((0, 1, 0.5), (0, 2, -2.0), (1, 2, 0.0))
    )
    edges = rows_of(EDGE_STATS, *rows)
    assert ">out</text>" in _svg(statistics_plots.degrees(edges))
    assert ">inhibits</text>" in _svg(statistics_plots.weights(edges))
