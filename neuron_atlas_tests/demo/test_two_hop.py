"""The two-hop case: CITY to state to capital, found in the graphs and cut in the model.

"The capital of the state containing CITY is" is traced to its answer minus another capital, for two cities of each state. The
**state's neurons** are those that favour the capital in the graphs of both its cities; the **capital's neurons** those whose direct
effect on the answer is most of their relevance. Ablating the first in the real model takes the answer away; as many random
neurons of the same layers and positions do not.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from neuron_atlas import demo
from neuron_atlas.adapters.datasets.prompt_sets import read_prompt_set
from neuron_atlas.core.records import AttributionGraph, Edit, Prompt

N_ABLATED = 60
Instance = tuple[int, int, int]
"""Layer, neuron, position from the end."""


@pytest.fixture(scope="module")
def model():
    import torch

    import neuron_atlas as na

    torch.set_num_threads(1)
    return na.load_model(str(demo.MODEL_DIR))


@pytest.fixture(scope="module")
def graphs(model) -> dict[str, tuple[Prompt, AttributionGraph]]:
    import neuron_atlas as na

    asked = [p for p in read_prompt_set(demo.PROMPTS_DIR, "geography").prompts if p.tags.get("task") == "two-hop-state"]
    contrasted = [replace(p, target_tokens=()) for p in asked]
    return {p.tags["city"]: (p, na.trace(model, p, tau=0.001)) for p in contrasted}


def favouring(graph: AttributionGraph) -> dict[Instance, tuple[float, float]]:
    """(relevance, direct part) of the neurons that favour the answer."""
    length = len(graph.summary.tokens)
    rows = graph.nodes.filter((pl.col("kind") == "neuron") & (pl.col("relevance") > 0)).iter_rows(named=True)
    return {(r["layer"], r["neuron"], r["position"] - length): (r["relevance"], r["direct"]) for r in rows}


def state_neurons(city: str, graphs: dict[str, tuple[Prompt, AttributionGraph]]) -> list[Instance]:
    """The state's neurons, most relevant first."""
    state = graphs[city][0].tags["state"]
    mine = favouring(graphs[city][1])
    others = [favouring(g) for c, (p, g) in graphs.items() if p.tags["state"] == state and c != city]
    assert others
    shared = [i for i in mine if all(i in other for other in others)]
    return sorted(shared, key=lambda i: -mine[i][0])


def test_every_graph_holds_neurons_of_the_state_and_of_the_capital(graphs) -> None:
    assert len(graphs) >= 20
    for city, (_, graph) in graphs.items():
        capital = [i for i, (relevance, direct) in favouring(graph).items() if direct > 0.5 * relevance]
        assert len(state_neurons(city, graphs)) >= N_ABLATED
        assert len(capital) >= 5


def test_ablating_the_states_neurons_changes_the_answer_and_random_ones_do_not(model, graphs) -> None:
    rng = np.random.default_rng(0)
    lost = lost_at_random = 0
    for city, (prompt, graph) in graphs.items():
        ids = graph.summary.token_ids
        state = [
            Edit(layer, neuron, 0.0, at + len(ids)) for layer, neuron, at in state_neurons(city, graphs)[:N_ABLATED]
        ]
        chance = [replace(edit, neuron=int(rng.integers(model.spec.n_neurons))) for edit in state]
        whole, without_state, without_random = model.logits(ids, edits=[(), state, chance]).argmax(axis=1)
        assert prompt.contrast is not None
        assert model.token_text(int(whole)) == prompt.contrast[0]
        lost += without_state != whole
        lost_at_random += without_random != whole
    assert lost >= 0.9 * len(graphs)
    assert lost_at_random <= 0.05 * len(graphs)
