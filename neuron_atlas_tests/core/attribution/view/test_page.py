"""The page of a graph is complete in itself, and nothing that comes from the graph becomes markup or script."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import polars as pl
import pytest

from neuron_atlas.core.attribution.effects.edge_flow import edge_flows
from neuron_atlas.core.attribution.graph.traced_graph import TracedGraph
from neuron_atlas.core.attribution.view.page import graph_cell, graph_page, script_safe
from neuron_atlas.core.records import AttributionGraph, GraphSummary, NeuronId, Prompt
from neuron_atlas.core.tables import EDGES, NODES, TARGETS, Table

HOSTILE = "</script><img src=x onerror=alert(1)><!--\u2028'\"&"


class Elements(HTMLParser):
    """Every element with its attributes and the text inside it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.is_inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), []))
        self.is_inside = True

    def handle_endtag(self, tag: str) -> None:
        self.is_inside = False

    def handle_data(self, data: str) -> None:
        if self.is_inside:
            self.found[-1][2].append(data)

    def named(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [(attributes, "".join(text)) for name, attributes, text in self.found if name == tag]


def _frame(table: Table, rows: list[tuple[object, ...]]) -> pl.DataFrame:
    schema = {name: dtype for name, dtype in table.schema.items() if name != "prompt_id"}
    return pl.DataFrame(rows, schema=schema, orient="row")


@pytest.fixture
def hostile() -> AttributionGraph:
    """One token, one neuron, one answer; every text is an attack."""
    nodes = _frame(
        NODES,
        [
            (0, "embedding", -1, 0, None, 1, 1.0, 4.0, 0.0, 1.0, 0.0, 0.0),
            (1, "neuron", 0, 0, 7, None, -2.0, 4.0, 4.0, 0.5, 0.0, 0.0),
            (2, "logit", 1, 0, None, 3, 4.0, 4.0, 4.0, 0.0, 0.0, 0.0),
        ],
    )
    edges = _frame(EDGES, [(0, 1, -2.0), (1, 2, 4.0)])
    summary = GraphSummary(
        (1,), (HOSTILE,), 0, "top_k", 4.0, HOSTILE, "float32", False, 1.0, float("nan"), 0.0, 1.0, HOSTILE, HOSTILE
    )
    return AttributionGraph(Prompt(HOSTILE), nodes, edges, _frame(TARGETS, [(2, 3, HOSTILE, 4.0, 0.9, 1.0)]), summary)


def test_hostile_texts_add_no_element_and_come_back_whole(hostile: AttributionGraph) -> None:
    labels = {(NeuronId(0, 7), -1): HOSTILE}
    page = Elements(graph_page(hostile, labels=labels))
    assert sorted(tag for tag, *_ in page.found) == sorted(
        ["html", "head", "meta", "meta", "meta", "title", "style", "body", "noscript", "main", "script", "script"]
    )
    (attributes, data), _ = page.named("script")
    assert attributes == {"type": "application/json", "id": "graph"}
    shown = json.loads(data)
    assert (
        shown["prompt"] == shown["tokens"][0] == shown["answers"][0]["token"] == shown["nodes"]["label"][1] == HOSTILE
    )
    assert shown["scores"]["replacement"] is None


def test_the_policy_allows_exactly_the_script_and_style_of_the_page(hostile: AttributionGraph) -> None:
    page = Elements(graph_page(hostile))
    policy = page.named("meta")[1][0]["content"]
    assert policy is not None
    (_, _), (_, script) = page.named("script")
    ((_, style),) = page.named("style")
    for text, directive in ((script, "script-src"), (style, "style-src")):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


def test_the_page_asks_for_nothing_outside_itself(hostile: AttributionGraph) -> None:
    page = Elements(graph_page(replace(hostile, prompt=Prompt("plain"))))
    assert not [attributes for _, attributes, _ in page.found if {"src", "href", "srcset"} & set(attributes)]
    (_, _), (_, script) = page.named("script")
    for way_out in (
        "fetch(",
        "XMLHttpRequest",
        "import(",
        "innerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
    ):
        assert way_out not in script


def test_a_notebook_cell_is_readable_without_scripts_and_holds_the_page_in_a_closed_frame(
    hostile: AttributionGraph,
) -> None:
    cell = Elements(graph_cell(hostile))
    assert sorted({tag for tag, *_ in cell.found}) == ["b", "iframe", "p", "table", "td", "th", "tr"]
    ((frame, _),) = cell.named("iframe")
    assert frame["sandbox"] == "allow-scripts"
    assert frame["srcdoc"] == graph_page(hostile)
    assert [text for _, text in cell.named("td")] == ["L0/N7", HOSTILE, "-2", "4"]
    assert TracedGraph.of(hostile)._repr_html_() == graph_cell(hostile)


def test_flows_are_weight_times_the_slope_of_the_target(hostile: AttributionGraph) -> None:
    """Into the neuron: -2 · (4 / -2) = 4 logits; into the logit: 4 · 1."""
    assert edge_flows(hostile)["flow"].to_list() == [4.0, 4.0]


def test_data_cannot_end_its_script_element() -> None:
    text = script_safe({"x": HOSTILE})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(unescape(text)) == {"x": HOSTILE}
