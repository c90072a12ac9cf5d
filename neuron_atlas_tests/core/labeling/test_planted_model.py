"""The whole way on a model with hand-written weights: graphs, projections, exemplars, labels, scores.

Every planted neuron has one right answer; the rules must find at least 95 % of them, and so must a language model that reads
nothing but the request: a scripted one, which takes the strongest tokens of the lines it is shown. With the neurons' weights
shuffled, nobody finds more than chance.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.numpy import load_file, save_file

from neuron_atlas.adapters.subject_model.load import load_model
from neuron_atlas.core.aggregation.corpora.activation_stats import activation_stats
from neuron_atlas.core.aggregation.graphs.direct_effect_ratio import der_scores
from neuron_atlas.core.aggregation.graphs.edge_stats import edge_statistics
from neuron_atlas.core.aggregation.graphs.graph_stats import sum_graphs
from neuron_atlas.core.aggregation.weights.projections import project_inputs, project_outputs
from neuron_atlas.core.attribution.trace import trace_prompts
from neuron_atlas.core.labeling.label_layer import label_layer
from neuron_atlas.core.labeling.labeler import Labeler
from neuron_atlas.core.labeling.labelers.language_model import LanguageModelLabeler
from neuron_atlas.core.labeling.labelers.rules import RulesLabeler
from neuron_atlas.core.labeling.scoring.score import score_layer
from neuron_atlas.core.llm_requests import LlmRequest
from neuron_atlas.core.ports import SubjectModel
from neuron_atlas.core.records import AttributionGraph, Frames, Prompt, Tables, TraceOptions
from neuron_atlas_tests.planted_model import PlantedTruth, write_planted_model
from neuron_atlas_tests.scripted_model import ScriptedModel


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[PlantedTruth, SubjectModel]:
    torch.set_num_threads(1)
    truth = write_planted_model(tmp_path_factory.mktemp("planted"))
    return truth, load_model(str(truth.folder), device="cpu")


def traced(model: SubjectModel, truth: PlantedTruth) -> Tables:
    """The tables of asset `raw_graphs`, as far as sums are made of them."""
    prompts = [Prompt(text) for text in (*truth.prompts, *truth.silent_prompts)]
    graphs = [g for g in trace_prompts(model, prompts, options=TraceOptions()) if isinstance(g, AttributionGraph)]
    rows = [
        {"prompt_id": g.prompt.prompt_id, "prompt_set": "planted", "reason": None, "token_ids": list(g.summary.token_ids),
         "n_edges": g.edges.height}
        for g in graphs
    ]  # fmt: skip
    frame = pl.DataFrame(rows, schema_overrides={"token_ids": pl.List(pl.Int32), "reason": pl.String})
    parts = {"nodes": "nodes", "edges": "edges", "targets": "logits"}
    tables = {
        name: pl.concat(getattr(g, part).with_columns(prompt_id=pl.lit(g.prompt.prompt_id)) for g in graphs).lazy()
        for name, part in parts.items()
    }
    return {"graphs": frame.lazy(), **tables}


def evidence_of(model: SubjectModel, truth: PlantedTruth) -> Tables:
    """Every table a labeler's evidence comes from."""
    words = sorted({word for neuron in truth.neurons for word in (*neuron.fires_on, *neuron.promotes)})
    rng = np.random.default_rng(0)
    plain = [" the", " old", " tree", " see", " and"]
    texts = ["see" + "".join(rng.choice([*words, *plain], size=6)) for _ in range(300)]
    frames: Frames = dict(activation_stats(model, texts, corpus="planted"))
    vocabulary = model.vocab_weights()
    layers = [model.mlp_weights(layer) for layer in range(model.spec.n_layers)]
    for project in (project_outputs, project_inputs):
        made = [project(mlp, vocabulary, token_text=model.token_text) for mlp in layers]
        frames |= {name: pl.concat(frame[name] for frame in made) for name in made[0]}
    sums = sum_graphs(traced(model, truth), prompt_set="planted", kind="domain", special_ids=model.special_ids)
    lazy = {name: frame.lazy() for name, frame in sums.items()}
    frames |= edge_statistics(lazy, token_text=model.token_text) | der_scores(lazy)
    return {name: frame.lazy() for name, frame in frames.items()}


def labels_of(evidence: Tables, n_layers: int, labeler: Labeler) -> Frames:
    """Both passes in the prescribed order."""
    made: dict[str, list[pl.DataFrame]] = {"output_labels": [], "input_labels": []}
    for side, order in (("output", reversed(range(n_layers))), ("input", range(n_layers))):
        for layer in order:
            known = {name: pl.concat(frames).lazy() for name, frames in made.items() if frames}
            frames = label_layer(side, layer, evidence=evidence, labels=known, labeler=labeler, model_revision="r")
            made[f"{side}_labels"].append(frames[f"{side}_labels"])
    return {name: pl.concat(frames) for name, frames in made.items()}


OUTPUT_LINES = (
    "Measured direct effect on traced logits",
    "Tokens that the labels of those neurons predict",
    "Raises these tokens",
)
INPUT_LINES = (
    "Tokens it fired on",
    "Tokens that make those neurons fire",
    "Tokens whose embedding alone would drive it",
)


def reads_the_request(request: LlmRequest) -> str:
    """A scripted language model: the strongest tokens (half of the top weight) of the first telling line that is there."""
    text = request.messages[-1].content
    is_input = "What it does when it fires:" in text
    routes = "(routing," in text
    order = INPUT_LINES if is_input else OUTPUT_LINES[1:] if routes else OUTPUT_LINES
    tokens: list[str] = []
    for title in order:
        line = next((line for line in text.splitlines() if line.startswith(title)), None)
        found = re.findall(r'("(?:[^"\\]|\\.)*") ([+-][0-9.]+[0-9])', line or "")
        weights = [(json.loads(token), float(weight)) for token, weight in found if float(weight) > 0]
        if weights:
            tokens = [token for token, weight in weights if weight >= 0.5 * weights[0][1]]
            break
    none = {"hypothesis": "none", "contradicted_by": "none"}
    verb, kind = ("fires on", "token-pattern") if is_input else ("promotes", "routing" if routes else "semantic")
    via = re.search(r"^  (L\d+/N\d+[+-]) drives", text, re.MULTILINE)
    return json.dumps(
        {"specific": none, "medium": none, "general": none, "is_interpretable": bool(tokens), "reason": "no telling line",
         "label": f"{verb} {' '.join(tokens[:4])}", "description": f"Works through {via[1]}." if via and routes else "As shown.",
         "type": kind, "confidence": 0.8, "tokens": tokens, "direction": "rises"}
    )  # fmt: skip


LABELERS: dict[str, Callable[[], Labeler]] = {
    "rules": RulesLabeler,
    "scripted language model": lambda: LanguageModelLabeler(ScriptedModel(reads_the_request)),
}


@pytest.fixture(scope="module")
def evidence(planted: tuple[PlantedTruth, SubjectModel]) -> Tables:
    truth, model = planted
    return evidence_of(model, truth)


@pytest.fixture(scope="module", params=list(LABELERS))
def labels(request: pytest.FixtureRequest, evidence: Tables, planted: tuple[PlantedTruth, SubjectModel]) -> Frames:
    return labels_of(evidence, planted[1].spec.n_layers, LABELERS[request.param]())


def rows_of_planted(labels: Frames, truth: PlantedTruth, side: str) -> list[dict[str, object]]:
    frame = labels[f"{side}_labels"]
    rows = {(row["layer"], row["neuron"], row["polarity"]): row for row in frame.iter_rows(named=True)}
    return [rows[planted.id.layer, planted.id.neuron, planted.polarity] for planted in truth.neurons]


def test_what_planted_neurons_promote(labels: Frames, planted: tuple[PlantedTruth, SubjectModel]) -> None:
    truth, _ = planted
    rows = rows_of_planted(labels, truth, "output")
    hits = [
        bool(row["tokens"])
        and {f" {token}" for token in row["tokens"]} <= set(neuron.promotes)
        and (row["type"] == "routing") == (neuron.kind == "routing")
        and row["direction"] == 1
        for neuron, row in zip(truth.neurons, rows, strict=True)
    ]
    assert np.mean(hits) >= 0.95


def test_what_planted_neurons_fire_on(labels: Frames, planted: tuple[PlantedTruth, SubjectModel]) -> None:
    truth, _ = planted
    rows = rows_of_planted(labels, truth, "input")
    hits = [
        bool(row["tokens"]) and {f" {token}" for token in row["tokens"]} <= set(neuron.fires_on)
        for neuron, row in zip(truth.neurons, rows, strict=True)
    ]
    assert np.mean(hits) >= 0.95


def test_a_routing_label_names_the_neuron_it_works_through(
    labels: Frames, planted: tuple[PlantedTruth, SubjectModel]
) -> None:
    truth, _ = planted
    rows = rows_of_planted(labels, truth, "output")
    for neuron, row in zip(truth.neurons, rows, strict=True):
        if neuron.kind == "routing":
            assert f"{neuron.via}+" in str(row["description"]), row["label"]


def test_true_labels_pass_and_swapped_labels_do_not(
    labels: Frames, evidence: Tables, planted: tuple[PlantedTruth, SubjectModel]
) -> None:
    """The last layer's planted neurons, with their own output labels and with each other's."""
    truth, model = planted
    last = [neuron for neuron in truth.neurons if neuron.id.layer == 3]
    frame = labels["output_labels"].filter((pl.col("layer") == 3) & pl.col("neuron").is_in([n.id.neuron for n in last]))
    frame = frame.filter(pl.col("polarity") == 1)
    swapped = frame.with_columns(
        pl.col(name).shift(1).fill_null(pl.col(name).last()) for name in ("tokens", "token_ids")
    )
    scores = [
        score_layer(model, 3, evidence=evidence, labels={"output_labels": f.lazy()})["label_scores"].filter(
            pl.col("metric") == "intervention"
        )
        for f in (frame, swapped)
    ]
    assert (scores[0]["score"] == 1.0).all()
    assert scores[1]["score"].mean() < 0.2


def shuffled(truth: PlantedTruth, folder: Path) -> str:
    """The same model with the neurons of each layer's projections in another order each: what a neuron reads, how far it opens
    and what it writes no longer belong together."""
    shutil.copytree(truth.folder, folder)
    tensors = load_file(folder / "model.safetensors")
    rng = np.random.default_rng(0)
    for name, tensor in tensors.items():
        if ".mlp.down_proj." in name:
            tensors[name] = np.ascontiguousarray(tensor[:, rng.permutation(tensor.shape[1])])
        elif ".mlp." in name:
            tensors[name] = np.ascontiguousarray(tensor[rng.permutation(tensor.shape[0])])
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


@pytest.mark.parametrize("name", list(LABELERS))
def test_with_shuffled_weights_no_more_roles_are_found_than_by_chance(
    name: str, shuffled_evidence: Tables, planted: tuple[PlantedTruth, SubjectModel]
) -> None:
    """Every planted neuron has a role that at most one in four others share: knowing nothing finds at most a quarter of them."""
    truth, model = planted
    made = labels_of(shuffled_evidence, model.spec.n_layers, LABELERS[name]())
    for side, planted_tokens in (("output", "promotes"), ("input", "fires_on")):
        rows = {
            (row["layer"], row["neuron"], row["polarity"]): row for row in made[f"{side}_labels"].iter_rows(named=True)
        }
        hits = []
        for neuron in truth.neurons:
            row = rows.get((neuron.id.layer, neuron.id.neuron, neuron.polarity))
            tokens = {f" {token}" for token in row["tokens"]} if row is not None else set()
            hits.append(bool(tokens) and tokens <= set(getattr(neuron, planted_tokens)))
        assert np.mean(hits) <= 0.25


@pytest.fixture(scope="module")
def shuffled_evidence(planted: tuple[PlantedTruth, SubjectModel], tmp_path_factory: pytest.TempPathFactory) -> Tables:
    truth, _ = planted
    model = load_model(shuffled(truth, tmp_path_factory.mktemp("shuffled") / "model"), device="cpu")
    return evidence_of(model, truth)
