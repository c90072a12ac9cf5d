"""The demo model held against its own attributions: what is measured, that it repeats, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import neuron_atlas
from neuron_atlas.adapters.datasets.prompt_sets import read_prompt_set
from neuron_atlas.adapters.subject_model.load import load_model
from neuron_atlas.core.attribution.faithfulness.cases import prepare
from neuron_atlas.core.attribution.faithfulness.evaluate import EvaluationBudget
from neuron_atlas.core.attribution.faithfulness.gradients import gradients
from neuron_atlas.core.attribution.linearisation.rules import rule_set
from neuron_atlas.core.attribution.linearisation.torch_threads import suited_threads
from neuron_atlas.core.attribution.trace import trace
from neuron_atlas.core.records import Edit, Prompt, PromptSet
from neuron_atlas.core.tables import FAITHFULNESS
from neuron_atlas.errors import BadInput, UnknownName

DEMO = Path(neuron_atlas.__file__).parent / "demo"
SMALL = EvaluationBudget(
    prompts=6, singles=6, subsets=6, subset_sizes=(16,), sources=6, kept=(30,), circuits=(256,), random_circuits=1
)


@pytest.fixture(scope="module")
def model():
    return load_model(str(DEMO / "small-world"), device="cpu")


@pytest.fixture(scope="module")
def facts() -> PromptSet:
    return read_prompt_set(DEMO / "prompts", "geography")


@pytest.fixture(scope="module")
def rows(model, facts) -> pl.DataFrame:
    return neuron_atlas.evaluate(model, facts, rules=("relp", "gradient"), budget=SMALL)


def test_replaced_by_themselves_activations_change_nothing_and_zeros_are_an_ablation(model) -> None:
    ids = model.encode(Prompt("the capital of Texas is"))
    kept = model.intervene([ids, ids], lambda _layer, activation: activation)
    assert np.allclose(kept.numpy(), model.logits(ids), atol=1e-5)

    def ablate(layer: int, activation: torch.Tensor) -> torch.Tensor:
        changed = activation.clone()
        changed[1, 3, 7] *= float(layer != 2)
        return changed

    edited = model.logits(ids, edits=[(), [Edit(2, 7, 0.0, position=3)]])
    assert np.allclose(model.intervene([ids, ids], ablate).numpy(), edited, atol=1e-5)


@pytest.mark.parametrize("rules", ["relp", "gate-frozen", "half+qk", "gradient"])
def test_gradient_times_activation_is_the_relevance_of_the_graph(model, facts, rules: str) -> None:
    (case,) = prepare(model, facts.prompts, most=1)
    (gradient,) = gradients(model, [case.clean], rule_set(rules))
    nodes = trace(model, case.prompt, rules=rules, top_n=40).nodes.filter(pl.col("kind") == "neuron")
    where = tuple(torch.as_tensor(nodes[name].to_numpy().astype(np.int64)) for name in ("layer", "position", "neuron"))
    found = (gradient * case.clean.activation)[where].numpy()
    assert np.allclose(found, nodes["relevance"].to_numpy(), rtol=1e-3, atol=1e-4)


def test_every_protocol_has_its_rows(rows: pl.DataFrame) -> None:
    assert rows.schema == pl.Schema(FAITHFULNESS.schema)
    assert set(rows["prompt_set"]) == {"geography"}
    found = {protocol: set(part["method"]) for (protocol,), part in rows.partition_by("protocol", as_dict=True).items()}
    both = {"relp/1", "gradient/1"}
    assert found == {
        **dict.fromkeys(("patch_output", "ablate_one", "ablate_subset", "keep_top"), both),
        **dict.fromkeys(("circuit", "complement"), both | {"random"}),
        **{key: {"relp/1"} for key in ("edge", "direct")},
    }
    shares = rows["protocol"].is_in(["keep_top", "circuit", "complement"])
    assert rows.filter(shares)["share"].null_count() == 0
    assert rows.filter(shares)["pearson"].count() == 0
    assert rows.filter(~shares)["pearson"].null_count() == 0
    assert rows.filter(~shares)["share"].count() == 0
    assert rows.filter(~shares).select((pl.col("pearson_low") <= pl.col("pearson")).all()).item()


def test_on_facts_patching_goes_as_relp_predicts(rows: pl.DataFrame) -> None:
    assert value(rows, "patch_output", "relp/1", "pearson") >= 0.9


@pytest.mark.parametrize("name", ["grammar", "arithmetic"])
def test_where_the_demo_model_computes_patching_goes_as_relp_predicts_and_not_as_the_gradient(model, name: str) -> None:
    """Its attention looks by place and word, not by what is to be said: frozen patterns lose little."""
    few = replace(SMALL, singles=1, subsets=1, sources=1, circuits=(1,))
    prompts = read_prompt_set(DEMO / "prompts", name)
    found = neuron_atlas.evaluate(model, prompts, rules=("relp", "gradient"), edge_rules=(), budget=few)
    relp, gradient = (value(found, "patch_output", method, "pearson") for method in ("relp/1", "gradient/1"))
    assert relp >= 0.85
    assert relp > gradient + 0.1


@pytest.mark.parametrize("name", ["grammar", "geography", "arithmetic"])
def test_when_half_of_the_important_nodes_go_at_once_relp_says_more_than_the_gradient(model, name: str) -> None:
    """And when a few go, less: that is a small change, for which the derivative is made."""
    budget = replace(SMALL, prompts=24, singles=1, subsets=20, subset_sizes=(4, 64), sources=1, circuits=(1,))
    prompts = read_prompt_set(DEMO / "prompts", name)
    found = neuron_atlas.evaluate(model, prompts, rules=("relp", "gradient"), edge_rules=(), budget=budget)
    few, half = (
        {
            row["method"]: row["pearson"]
            for row in found.iter_rows(named=True)
            if (row["protocol"], row["n"]) == (what, n)
        }
        for what, n in (("ablate_subset", 4), ("ablate_subset", 64))
    )
    assert half["relp/1"] > half["gradient/1"] + 0.03
    assert few["relp/1"] < few["gradient/1"]


def test_a_circuit_carries_more_than_a_random_one_of_its_size(rows: pl.DataFrame) -> None:
    assert value(rows, "circuit", "relp/1", "share") > value(rows, "circuit", "random", "share") + 0.2
    assert value(rows, "complement", "relp/1", "share") < value(rows, "complement", "random", "share") - 0.2


def test_the_same_arguments_give_the_same_rows(model, facts, rows: pl.DataFrame) -> None:
    assert neuron_atlas.evaluate(model, facts, rules=("relp", "gradient"), budget=SMALL).equals(rows)


def test_small_models_run_on_one_thread_and_the_number_from_before_comes_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with suited_threads(width=128):
            assert torch.get_num_threads() == 1
        with suited_threads(width=4096):
            assert torch.get_num_threads() == 2
        with pytest.raises(BadInput), suited_threads(width=128):
            raise BadInput("stopped")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_prompts_without_partner_or_answer_are_measured_by_ablation_alone(model) -> None:
    prompts = [Prompt("the capital of Texas is"), Prompt("the girl")]
    found = neuron_atlas.evaluate(model, prompts, rules=("relp",), budget=SMALL)
    assert set(found["protocol"]) == {"ablate_one", "ablate_subset", "keep_top", "edge", "direct"}
    assert set(found["prompt_set"]) == {""}


def test_a_partner_of_another_length_is_no_partner(model) -> None:
    pair = Prompt("the girl", contrast=(" is", " are"), tags={"partner": "the girls near the dog"})
    (case,) = prepare(model, [pair], most=3)
    assert case.corrupt is None


def test_what_cannot_be_run_is_left_out_and_nothing_left_is_an_error(model) -> None:
    unfit = Prompt("the girl", position=99)
    assert len(prepare(model, [unfit, Prompt("the girl")], most=2)) == 1
    with pytest.raises(BadInput, match="none of 1 prompts can be run"):
        neuron_atlas.evaluate(model, [unfit])
    with pytest.raises(BadInput, match="none of 0 prompts"):
        neuron_atlas.evaluate(model, [])


def test_arguments_that_make_no_sense_are_refused(model) -> None:
    with pytest.raises(UnknownName, match="relpp"):
        neuron_atlas.evaluate(model, [Prompt("the girl")], rules=("relpp",))
    with pytest.raises(BadInput, match="at least 1"):
        neuron_atlas.evaluate(model, [Prompt("the girl")], budget=EvaluationBudget(prompts=0))
    with pytest.raises(BadInput, match="singles"):
        neuron_atlas.evaluate(model, [Prompt("the girl")], budget=EvaluationBudget(subset_sizes=(1, 4)))


def value(rows: pl.DataFrame, protocol: str, method: str, column: str) -> float:
    return rows.filter(pl.col("protocol") == protocol, pl.col("method") == method)[column].item()
