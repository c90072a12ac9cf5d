"""A real model with hand-written neurons: every statistic must find what was planted."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from neuron_atlas.adapters.subject_model.load import load_model
from neuron_atlas.core.aggregation.corpora.activation_stats import activation_stats
from neuron_atlas.core.aggregation.graphs.direct_effect_ratio import ROUTING, der_scores, measure_direct_effects
from neuron_atlas.core.aggregation.graphs.edge_stats import edge_statistics
from neuron_atlas.core.aggregation.graphs.graph_stats import sum_graphs
from neuron_atlas.core.aggregation.readable_tokens import readable_token
from neuron_atlas.core.aggregation.weights.projections import project_inputs, project_outputs
from neuron_atlas.core.attribution.graph.tables import graph_frames
from neuron_atlas.core.attribution.trace import trace_prompts
from neuron_atlas.core.records import NeuronId, Prompt, TraceOptions
from neuron_atlas_tests.planted_model import PlantedTruth, write_planted_model


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> PlantedTruth:
    return write_planted_model(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def model(truth: PlantedTruth) -> Any:
    return load_model(str(truth.folder), device="cpu")


@pytest.fixture(scope="module")
def raw(truth: PlantedTruth, model: Any) -> dict[str, pl.LazyFrame]:
    prompts = [Prompt(text=text, raw=True) for text in truth.prompts]
    graphs = list(trace_prompts(model, prompts, options=TraceOptions(tau=1e-3)))
    frames = graph_frames(graphs, prompt_set="planted", kind="domain", code_version="1", options=TraceOptions(tau=1e-3))
    return {name: frame.lazy() for name, frame in frames.items()}


@pytest.fixture(scope="module")
def sums(raw: dict[str, pl.LazyFrame], model: Any) -> dict[str, pl.LazyFrame]:
    frames = sum_graphs(raw, prompt_set="planted", kind="domain", special_ids=model.special_ids)
    return {name: frame.lazy() for name, frame in frames.items()}


def words(tokens: tuple[str, ...]) -> set[str]:
    """Tokens as tables show them."""
    return {readable_token(token) for token in tokens}


def of(frame: pl.DataFrame, neuron: NeuronId) -> pl.DataFrame:
    return frame.filter((pl.col("layer") == neuron.layer) & (pl.col("neuron") == neuron.neuron))


def test_input_projections_name_the_tokens_that_fire_it(truth: PlantedTruth, model: Any) -> None:
    vocab = model.vocab_weights()
    readers = [n for n in truth.neurons if n.reads_tokens]
    assert readers
    for planted in readers:
        k = len(planted.fires_on)
        frame = project_inputs(model.mlp_weights(planted.id.layer), vocab, token_text=model.token_text, k=k)
        best = of(frame["input_projections"], planted.id).filter(pl.col("direction") == planted.polarity)
        assert set(best["token"]) == words(planted.fires_on), planted.id


def test_output_projections_name_the_tokens_it_promotes(truth: PlantedTruth, model: Any) -> None:
    vocab = model.vocab_weights()
    writers = [n for n in truth.neurons if n.kind == "logit"]
    assert writers
    for planted in writers:
        k = len(planted.promotes)
        frame = project_outputs(model.mlp_weights(planted.id.layer), vocab, token_text=model.token_text, k=k)
        best = of(frame["output_projections"], planted.id).filter(pl.col("direction") == planted.polarity)
        assert set(best["token"]) == words(planted.promotes), planted.id


def test_top_texts_peak_on_the_planted_tokens_in_the_planted_polarity(truth: PlantedTruth, model: Any) -> None:
    texts = [*truth.prompts, *truth.silent_prompts]
    exemplars = activation_stats(model, texts, corpus="planted")["exemplars"].filter(pl.col("kind") == "top")
    peak = pl.col("tokens").list.get(pl.col("peak_position")).str.strip_chars()
    for planted in truth.neurons:
        top = of(exemplars, planted.id).with_columns(peak=peak)
        assert set(top["polarity"]) == {planted.polarity}, planted.id
        assert set(top["peak"]) <= words(planted.fires_on), planted.id


def test_graphs_associate_it_with_the_tokens_it_fires_on(
    truth: PlantedTruth, sums: dict[str, pl.LazyFrame], model: Any
) -> None:
    active = edge_statistics(sums, token_text=model.token_text)["token_associations"].filter(
        pl.col("place") == "active"
    )
    for planted in truth.neurons:
        seen = of(active, planted.id)
        assert seen.height, planted.id
        assert set(seen["polarity"]) == {planted.polarity}
        assert set(seen["token"]) <= words(planted.fires_on), planted.id


def test_a_router_is_wired_to_the_neuron_it_was_built_for(
    truth: PlantedTruth, sums: dict[str, pl.LazyFrame], model: Any
) -> None:
    edges = edge_statistics(sums, token_text=model.token_text)["edge_stats"]
    for planted in truth.neurons:
        if planted.via is None:
            continue
        source, target = planted.id, planted.via
        wire = edges.filter(
            (pl.col("source_kind") == "neuron")
            & (pl.col("source_layer") == source.layer)
            & (pl.col("source") == source.neuron)
            & (pl.col("target_layer") == target.layer)
            & (pl.col("target") == target.neuron)
        )
        assert wire["flow_abs_mean"].to_list() > [0], planted.id
        assert wire["sign_agreement"].to_list() == [1], planted.id


def test_direct_effects_tell_routers_from_writers(
    truth: PlantedTruth, raw: dict[str, pl.LazyFrame], sums: dict[str, pl.LazyFrame], model: Any
) -> None:
    """Routers write to wires only, so nothing of theirs is direct. Writers at the end of the line are all direct. Those in between
    write tokens and wires."""
    measured = measure_direct_effects(model, raw, n_neurons=40, n_prompts=2)
    scores = der_scores(sums, measured)["der_scores"]
    wired = {source for module in truth.modules for source, _ in module.wires} | {n.id for n in truth.neurons if n.via}
    for planted in truth.neurons:
        (row,) = of(scores, planted.id).iter_rows(named=True)
        if planted.kind == "routing":
            assert row["effect_type"] == "routing"
            assert row["der"] == pytest.approx(0, abs=1e-5), planted.id
            assert row["der_intervention"] == pytest.approx(0, abs=1e-5), planted.id
        elif planted.id not in wired:
            assert row["effect_type"] == "logit"
            assert row["der"] == pytest.approx(1, abs=1e-3), planted.id
            assert row["der_intervention"] == pytest.approx(1, abs=0.01), planted.id  # later noise sees its norm move
        else:
            assert 0.1 < row["der"] < 0.9, planted.id


def test_half_precision_blurs_interventions_but_does_not_flatten_them(
    truth: PlantedTruth, raw: dict[str, pl.LazyFrame], model: Any
) -> None:
    """In bfloat16 a stream of size 12 is known to 1/32. Ratios move by hundredths; they do not all become 0, 1/2 or 1, as those of
    logit differences do."""
    half = load_model(str(truth.folder), device="cpu", dtype="bfloat16")
    rows = measure_direct_effects(half, raw, n_neurons=60, n_prompts=2)
    exact = measure_direct_effects(model, raw, n_neurons=60, n_prompts=2)
    assert rows["ratio"].is_in([0.0, 0.5, 1.0]).mean() < 0.5  # pyright: ignore[reportOperatorIssue]
    assert (rows["ratio"] - exact["ratio"]).abs().median() < 0.1  # pyright: ignore[reportOperatorIssue]
    planted = {(n.id.layer, n.id.neuron): n for n in truth.neurons}
    wired = {source for module in truth.modules for source, _ in module.wires}
    for layer, neuron, ratio in rows.select("layer", "neuron", "ratio").iter_rows():
        known = planted.get((layer, neuron))
        if known is not None and known.kind == "routing":
            assert ratio < ROUTING, known.id
        elif known is not None and known.id not in wired and known.via is None:
            assert ratio > 1 - ROUTING, known.id
