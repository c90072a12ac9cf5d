"""Total effects between the nodes of a traced graph, on the demo model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from neuron_atlas import demo
from neuron_atlas.adapters.subject_model.load import load_model
from neuron_atlas.core.attribution.total_links import total_links
from neuron_atlas.core.attribution.trace import trace
from neuron_atlas.core.records import AttributionGraph
from neuron_atlas.core.tables import EDGES
from neuron_atlas.errors import BadInput


@pytest.fixture(scope="module")
def model():
    return load_model(str(demo.MODEL_DIR), device="cpu")


@pytest.fixture(scope="module")
def graph(model) -> AttributionGraph:
    return trace(model, "the capital of Oregon is", contrast=(" Salem", " Austin"))


def test_the_tokens_total_effects_sum_to_every_value(model, graph: AttributionGraph) -> None:
    """The demo model has no biases: all there is comes from tokens."""
    links = total_links(model, graph, edge_tau=0.0)
    n_tokens = len(graph.summary.tokens)
    from_tokens = (
        links.filter(pl.col("source") < n_tokens).group_by("target").agg(pl.col("weight").sum()).sort("target")
    )
    values = graph.nodes.filter(pl.col("kind") != "embedding")
    assert from_tokens["target"].to_list() == values["node"].to_list()
    np.testing.assert_allclose(from_tokens["weight"], values["activation"], rtol=1e-3, atol=1e-4)


def test_a_neurons_total_effect_on_the_goal_is_its_relevance(model, graph: AttributionGraph) -> None:
    links = total_links(model, graph, edge_tau=0.0)
    on_goal = (
        links.join(graph.logits.select("node", "goal_weight"), left_on="target", right_on="node")
        .group_by("source")
        .agg(effect=(pl.col("weight") * pl.col("goal_weight")).sum())
        .join(graph.nodes.filter(kind="neuron").select("node", "relevance"), left_on="source", right_on="node")
    )
    assert on_goal.height == graph.nodes.filter(kind="neuron").height
    np.testing.assert_allclose(on_goal["effect"], on_goal["relevance"], rtol=1e-3, atol=1e-4)


def test_links_stand_as_edges_do_and_small_ones_are_left_out(model, graph: AttributionGraph) -> None:
    links = total_links(model, graph, edge_tau=0.1)
    assert links.schema == {name: dtype for name, dtype in EDGES.schema.items() if name != "prompt_id"}
    assert links.equals(links.sort("target", "source"))
    values = graph.nodes.select(pl.col("node").alias("target"), "activation")
    shares = links.join(values, on="target").select(pl.col("weight").abs() / pl.col("activation").abs()).to_series()
    assert 0 < links.height < total_links(model, graph).height
    assert shares.min() >= 0.1 * (1 - 1e-6)


def test_graphs_that_cannot_be_swept_again_are_refused(model, graph: AttributionGraph) -> None:
    def changed(**summary: str) -> AttributionGraph:
        return replace(graph, summary=replace(graph.summary, **summary))

    with pytest.raises(BadInput, match="another model"):
        total_links(model, changed(model_revision="0" * 64))
    with pytest.raises(BadInput, match="need a linear rule set; this graph is of gradient"):
        total_links(model, changed(rules="gradient/1"))
    with pytest.raises(BadInput, match="does not keep the direction"):
        total_links(model, changed(goal="direction"))


def test_an_excluded_neuron_is_error_and_everything_still_adds_up(model, graph: AttributionGraph) -> None:
    strongest = graph.nodes.filter(kind="neuron").sort(pl.col("relevance").abs(), descending=True).row(0, named=True)
    name = f"L{strongest['layer']}/N{strongest['neuron']}"
    without = trace(model, "the capital of Oregon is", contrast=(" Salem", " Austin"), exclude=[name])
    left_out = (pl.col("layer") == strongest["layer"]) & (pl.col("neuron") == strongest["neuron"])
    assert without.nodes.filter(left_out).is_empty()
    assert without.summary.options is not None
    assert without.summary.options.exclude == (name,)
    assert without.summary.conservation_error < 1e-4
    assert without.summary.completeness < graph.summary.completeness
