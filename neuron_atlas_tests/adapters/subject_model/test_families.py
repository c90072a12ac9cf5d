"""Every family, on a tiny random model of its own Hugging Face class: the frozen model is the model, and its exact sweeps
agree with automatic differentiation of the model's own forward pass under the same rules."""

import numpy as np
import polars as pl
import pytest
import torch
from torch.testing import assert_close

from neuron_atlas.core.attribution.effects.direct_effects import direct_effects, node_vectors
from neuron_atlas.core.attribution.effects.relevance import relevance_to_goals
from neuron_atlas.core.attribution.linearisation.freeze import freeze
from neuron_atlas.core.attribution.linearisation.goal import Goal, linearise_goal
from neuron_atlas.core.attribution.linearisation.replay import replay
from neuron_atlas.core.attribution.linearisation.rules import rule_set
from neuron_atlas.core.attribution.select_nodes import Nodes
from neuron_atlas.core.attribution.trace import trace
from neuron_atlas.core.records import Edit

IDS = [0, 5, 17, 9, 30, 22, 41]
LOGITS = Goal("tokens", (3, 8, 40), ("", "", ""), (1.0, 1.0, -1.0))
FAMILIES = [
    "llama", "llama-biases", "llama-3.1", "mistral", "qwen2", "qwen3", "olmo2", "olmo3", "gemma2", "gemma3", "gpt2",
]  # fmt: skip


@pytest.fixture(params=FAMILIES)
def model(request, tiny):
    return tiny(request.param)


@pytest.fixture
def hf_logits(model) -> torch.Tensor:
    """The model's own logits at the last token, through its own head."""
    with torch.no_grad():
        return model.module(input_ids=torch.tensor([IDS])).logits[0, -1]


def all_nodes(model) -> Nodes:
    shape = (model.spec.n_layers, len(IDS), model.spec.n_neurons)
    layers, positions, neurons = np.unravel_index(np.arange(np.prod(shape)), shape)
    return Nodes(layers, positions, neurons)


def test_replaying_the_frozen_model_gives_the_models_own_logits(model, hf_logits) -> None:
    frozen = freeze(model.folded, model.record([IDS])[0], rule_set("relp"))
    everything = linearise_goal(
        model.folded, frozen, Goal("tokens", tuple(range(47)), ("",) * 47, (1.0,) * 47), centre=False
    )
    replayed = everything.vectors @ replay(model.folded, frozen).final.sum(0)[-1] + everything.constants
    assert_close(replayed, hf_logits, rtol=1e-5, atol=1e-5)
    assert_close(frozen.logits, hf_logits, rtol=1e-5, atol=1e-6)
    assert_close(torch.from_numpy(model.logits(IDS)[0]), hf_logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rules", ["relp", "gate-frozen"])
def test_relevance_agrees_with_automatic_differentiation_and_sums_to_the_goal(model, rules: str) -> None:
    frozen = freeze(model.folded, model.record([IDS])[0], rule_set(rules))
    traced = linearise_goal(model.folded, frozen, LOGITS, centre=False)
    (scores,) = relevance_to_goals(model.folded, [frozen], [traced.goal_vector[None]])
    over_logits = torch.zeros(47)
    over_logits[list(LOGITS.token_ids)] = torch.tensor(LOGITS.weights)
    if model.folded.softcap is not None:  # the cap's ratio is frozen too: same goal, through the raw logits
        over_logits = over_logits * frozen.logit_ratio
    neurons, embeddings = differentiate(model, rules).relevance(over_logits)
    size = float(neurons.abs().max())
    assert_close(scores.neurons[0], neurons, rtol=1e-5, atol=1e-5 * size)
    assert_close(scores.embeddings[0], embeddings, rtol=1e-5, atol=1e-5 * size)
    constants = float((torch.tensor(LOGITS.weights) * traced.constants).sum())
    assert float(scores.embeddings.sum() + scores.bias.sum()) + constants == pytest.approx(traced.goal_value, abs=1e-4)


@pytest.mark.parametrize("rules", ["relp", "gate-frozen"])
def test_direct_effects_agree_with_automatic_differentiation(model, rules: str) -> None:
    frozen = freeze(model.folded, model.record([IDS])[0], rule_set(rules))
    traced = linearise_goal(model.folded, frozen, LOGITS, centre=False)
    nodes = all_nodes(model)
    effects = direct_effects(model.folded, frozen, node_vectors(model.folded, frozen, nodes, traced.vectors))
    rows = torch.zeros(3, 47)
    rows[range(3), LOGITS.token_ids] = 1.0
    if model.folded.softcap is not None:
        rows = rows * frozen.logit_ratio
    expected, inflow = differentiate(model, rules).direct_effects(nodes, rows)
    size = expected.abs().amax(1, keepdim=True)
    size = size.clamp(min=float(size.median()))  # a gate near 0 is known to fewer digits, by either way
    assert_close(effects / size, expected / size, rtol=1e-5, atol=1e-5)
    assert_close(effects[:, len(IDS) :].sum(1) / size[:, 0], inflow / size[:, 0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rules", ["relp", "gate-frozen"])
@pytest.mark.parametrize("centre_logits", [False, True])
def test_a_graphs_inflows_sum_to_its_values_within_1e_4(model, rules: str, centre_logits: bool) -> None:
    """Kept edges + bias + error = value for every target, and relevance = goal at the bottom: biases, post-norms, caps included."""
    graph = trace(model, " w1 w13 w5 w26 w18 w37", rules=rules, centre_logits=centre_logits)
    assert graph.summary.conservation_error < 1e-4
    inflow = graph.edges.group_by("target").agg(pl.col("weight").cast(pl.Float64).sum())
    targets = graph.nodes.filter(pl.col("kind") != "embedding").join(
        inflow, left_on="node", right_on="target", how="left"
    )
    total = targets["weight"].fill_null(0.0) + targets["bias"] + targets["error"]
    np.testing.assert_allclose(total.to_numpy(), targets["activation"].to_numpy(), rtol=1e-4, atol=1e-6)


def differentiate(model, rules: str):
    """Derivatives through the raw logits: a soft cap is part of the frozen model, not of the rule sets' live parts."""
    derivatives = model.differentiate(IDS, rule_set(rules))
    if model.folded.softcap is not None:
        head = model.parts.unembedding

        def raw_logits() -> torch.Tensor:
            base = model.module.base_model(input_ids=torch.tensor([IDS]), use_cache=False)
            return base.last_hidden_state[0, -1] @ head.T

        derivatives = type(derivatives)(model.parts, rule_set(rules), raw_logits)
    return derivatives


def test_mlp_weights_give_the_recorded_activations(model) -> None:
    """The port's plain arrays, applied by the formula of their docstring, are the model's MLP."""
    frozen = freeze(model.folded, model.record([IDS])[0], rule_set("relp"))
    streams = replay(model.folded, frozen)
    functions = {
        "silu": torch.nn.functional.silu,
        "gelu_tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
    }
    (recorded,) = model.activations([IDS])
    for layer in range(model.spec.n_layers):
        weights = model.mlp_weights(layer)
        x = streams.before_mlp[layer].sum(0).numpy()
        if weights.norm is not None:
            x = x - x.mean(-1, keepdims=True) if weights.norm_kind == "layer" else x
            x = x / np.sqrt((x**2).mean(-1, keepdims=True) + weights.norm_eps) * weights.norm
            x = x if weights.norm_bias is None else x + weights.norm_bias
        up = x @ weights.up.T + (0 if weights.bias_up is None else weights.bias_up)
        act = functions[weights.act]
        if weights.gate is None:
            activation = act(torch.from_numpy(up)).numpy()
        else:
            gate = x @ weights.gate.T + (0 if weights.bias_gate is None else weights.bias_gate)
            activation = act(torch.from_numpy(gate)).numpy() * up
        np.testing.assert_allclose(activation, recorded[layer], rtol=1e-4, atol=1e-5)


def test_vocabulary_weights_begin_and_end_the_model(model, hf_logits) -> None:
    weights = model.vocab_weights()
    recording = model.record([IDS])[0]
    positions = 0.0 if model.spec.architecture != "GPT2LMHeadModel" else model.module.transformer.wpe.weight[: len(IDS)]
    assert_close(torch.from_numpy(weights.embedding)[IDS] + positions, recording.embedded, rtol=1e-6, atol=1e-6)
    assert weights.unembedding.shape == weights.embedding.shape == (47, 24)
    assert weights.final_norm_kind == ("layer" if model.spec.architecture == "GPT2LMHeadModel" else "rms")
    assert model.parts.final_norm.weights.weight is not None
    np.testing.assert_array_equal(weights.final_norm, model.parts.final_norm.weights.weight.numpy())


def test_the_final_stream_is_what_norm_and_head_turn_into_the_logits(model) -> None:
    edits = [(), (Edit(1, 4, 0.5, position=5),)]
    stream = torch.from_numpy(model.final_stream([*IDS, 11], edits=edits, position=len(IDS) - 1))
    with torch.no_grad():
        logits = model.parts.final_norm.module(stream) @ model.parts.unembedding.T
    if (cap := model.folded.softcap) is not None:
        logits = torch.tanh(logits / cap) * cap
    assert_close(logits, torch.from_numpy(model.logits(IDS, edits=edits)), rtol=1e-5, atol=1e-5)
    assert stream.shape == (2, 24)
    assert (stream[1] - stream[0]).norm() > 1e-3


def test_frozen_scales_are_those_of_the_recording(model) -> None:
    recording = model.record([IDS])[0]
    scales = model.frozen_scales([*IDS, 11, 12], position=len(IDS) - 1)
    after = [1.0 if layer.scale_after_mlp is None else float(layer.scale_after_mlp[-1]) for layer in recording.layers]
    np.testing.assert_allclose(scales, [*after, float(recording.final_scale)], rtol=1e-5)
