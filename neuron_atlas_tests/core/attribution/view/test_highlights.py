"""The strongest neurons and links of a small graph, by hand."""

from __future__ import annotations

import polars as pl
import pytest

from neuron_atlas.core.attribution.view.highlights import strongest_links, strongest_neurons
from neuron_atlas.core.records import AttributionGraph, GraphSummary, NeuronId, Prompt
from neuron_atlas.core.tables import EDGES, NODES, TARGETS, Table


def _frame(table: Table, rows: list[tuple[object, ...]]) -> pl.DataFrame:
    schema = {name: dtype for name, dtype in table.schema.items() if name != "prompt_id"}
    return pl.DataFrame(rows, schema=schema, orient="row")


@pytest.fixture
def graph() -> AttributionGraph:
    """Two neurons: slopes 3 / -1.5 = -2 and -1 / 2 = -1/2; the second logit counts against the goal, which is 8."""
    nodes = _frame(
        NODES,
        [
            (0, "embedding", -1, 0, None, 5, 1.0, 0.5, 0.0, 1.0, 0.0, 0.0),
            (1, "neuron", 0, 0, 3, None, 2.0, -1.0, 0.0, 0.5, 0.0, 0.0),
            (2, "neuron", 1, 1, 7, None, -1.5, 3.0, 3.0, 0.5, 0.0, 0.0),
            (3, "logit", 2, 1, None, 42, 9.0, 9.0, 9.0, 0.0, 0.0, 0.0),
            (4, "logit", 2, 1, None, 43, 1.0, -1.0, -1.0, 0.0, 0.0, 0.0),
        ],
    )
    edges = _frame(EDGES, [(0, 1, 2.0), (1, 2, 0.5), (2, 3, 4.0), (2, 4, 3.0)])
    logits = _frame(TARGETS, [(3, 42, " sat", 9.0, 0.9, 1.0), (4, 43, " ran", 1.0, 0.1, -1.0)])
    summary = GraphSummary((5, 6), (" the", " cat"), 1, "contrast", 8.0, "relp/1", "float32", False, 1, 1, 0, 1)
    return AttributionGraph(Prompt("the cat"), nodes, edges, logits, summary)


LABELS = {(NeuronId(1, 7), -1): "sitting", (NeuronId(0, 3), -1): "of the sign that it does not have here"}


def test_neurons_come_by_size_of_relevance_with_their_share_of_the_goal(graph: AttributionGraph) -> None:
    found = strongest_neurons(graph, 5, labels=LABELS)
    assert found.rows() == [
        ("L1/N7", 1, " cat", -1.5, 3.0, 0.375, 3.0, "sitting"),
        ("L0/N3", 0, " the", 2.0, -1.0, -0.125, 0.0, None),
    ]
    assert strongest_neurons(graph, 1).height == 1


def test_links_come_by_size_of_flow_with_their_ends_in_words(graph: AttributionGraph) -> None:
    """Flows: 4 · 1, 3 · (-1), 0.5 · (-2), 2 · (-1/2); equal ones in the order of their targets."""
    found = strongest_links(graph, 5, labels=LABELS)
    assert found.rows() == [
        ('L1/N7 at " cat" (1)', 'answer " sat"', 4.0, 4.0, "sitting", None),
        ('L1/N7 at " cat" (1)', 'answer " ran"', 3.0, -3.0, "sitting", None),
        ('" the" (0)', 'L0/N3 at " the" (0)', 2.0, -1.0, None, None),
        ('L0/N3 at " the" (0)', 'L1/N7 at " cat" (1)', 0.5, -1.0, None, "sitting"),
    ]
