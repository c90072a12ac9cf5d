"""The labels of one graph's neurons, and of no others."""

from __future__ import annotations

import duckdb

from neuron_atlas.adapters.atlas_duckdb.graph_neuron_labels import LABELS


def test_labels_are_those_of_the_neurons_asked_for() -> None:
    connection = duckdb.connect()
    connection.execute(
        "CREATE TABLE neuron_labels (layer SMALLINT, neuron INT, polarity TINYINT, side TEXT, label TEXT)"
    )
    connection.execute(
        "INSERT INTO neuron_labels VALUES (1, 7, 1, 'output', 'what it does'), (1, 7, 1, 'input', 'what triggers it'),"
        " (1, 7, -1, 'output', NULL), (1, 7, -1, 'input', 'what triggers it'), (1, 8, 1, 'output', 'of another neuron')"
    )
    rows = connection.execute(LABELS.format(neurons="(1, 7)")).fetchall()
    assert rows == [
        (1, 7, -1, "input", "what triggers it"),
        (1, 7, 1, "input", "what triggers it"),
        (1, 7, 1, "output", "what it does"),
    ]
