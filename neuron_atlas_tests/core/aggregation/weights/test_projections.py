"""What the weights say of tokens: a four-coordinate model by eye, and every variant against a direct formula."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from neuron_atlas.core.aggregation.weights import projections
from neuron_atlas.core.aggregation.weights.mlp_formula import activation, normalised, responses
from neuron_atlas.core.aggregation.weights.projections import project_inputs, project_outputs
from neuron_atlas.core.ports import MlpWeights, VocabWeights


def test_the_tiny_model_promotes_what_it_was_built_to(tiny_model: Any) -> None:
    """L1/N0 writes sound +1/4. Unembedding rows' sound: meow 1, others 0; the mean over 6 tokens is 1/6, so meow gets
    1/4 * 5/6 and everyone else -1/4 * 1/6; nothing folded, meow has 1/4 and the others 0."""
    frame = project_outputs(
        tiny_model.mlp_weights(1), tiny_model.vocab_weights(), token_text=tiny_model.token_text, k=2
    )
    rows = frame["output_projections"].filter(pl.col("neuron") == 0)
    up = rows.filter(pl.col("direction") == 1)
    assert up.select("rank", "token_id", "token").rows() == [(0, 4, "meow")]  # nothing else is promoted
    assert up.select("weight", "weight_raw", "output_norm").row(0) == pytest.approx((5 / 24, 1 / 4, 1 / 4))
    down = rows.filter(pl.col("direction") == -1)
    assert down["token_id"].to_list() == [0, 1]  # equal scores: in order of token id
    assert down["weight"].to_list() == pytest.approx([-1 / 24] * 2)


def test_the_tiny_model_is_driven_by_what_it_was_built_for(tiny_model: Any) -> None:
    frame = project_inputs(tiny_model.mlp_weights(0), tiny_model.vocab_weights(), token_text=tiny_model.token_text, k=2)
    rows = frame["input_projections"].select("neuron", "direction", "rank", "token", "response").rows()
    assert rows == [
        (0, 1, 0, "<s>", 162.0),  # relu(9) * 18: the BOS row of the embedding, as large as in real models
        (0, 1, 1, "cat", 2.0),
        (1, -1, 0, "<s>", -81.0),
        (1, -1, 1, "dog", -1.0),
    ]


def random_mlp(rng: np.random.Generator, **changes: Any) -> MlpWeights:
    d, i = 6, 5

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    mlp = MlpWeights(3, draw(i, d), draw(i, d), draw(d, i), None, None, draw(d), None, "rms", 1e-5, "silu")
    return replace(mlp, **changes)


def random_vocab(rng: np.random.Generator, **changes: Any) -> VocabWeights:
    e, u = (rng.normal(size=(40, 6)).astype(np.float32) for _ in range(2))
    return replace(VocabWeights(e, u, rng.normal(size=6).astype(np.float32), "rms"), **changes)


@pytest.mark.parametrize("kind", ["rms", "layer"])
@pytest.mark.parametrize("post", [False, True])
@pytest.mark.parametrize("chunk", [1, 10**9])
def test_outputs_follow_the_formula(kind: Any, post: bool, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """W_U (g * P W_d), minus its mean over the vocabulary, whatever the chunk."""
    monkeypatch.setattr(projections, "CHUNK_BYTES", chunk)
    rng = np.random.default_rng(1)
    mlp = random_mlp(rng, post_norm=rng.normal(size=6).astype(np.float32) if post else None)
    vocab = random_vocab(rng, final_norm_kind=kind)
    down = mlp.down if mlp.post_norm is None else mlp.post_norm[:, None] * mlp.down
    centre = np.eye(6) - (np.ones((6, 6)) / 6 if kind == "layer" else 0)
    logits = vocab.unembedding @ np.diag(vocab.final_norm) @ centre @ down
    logits = logits - logits.mean(axis=0)
    frame = project_outputs(mlp, vocab, token_text=str, k=4)["output_projections"]
    assert frame["layer"].unique().to_list() == [3]
    for (neuron, direction), rows in frame.partition_by("neuron", "direction", as_dict=True).items():
        order = np.argsort(-direction * logits[:, neuron])[:4]
        assert rows["token_id"].to_list() == order.tolist()
        np.testing.assert_allclose(rows["weight"], logits[order, neuron], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(
            rows["weight_raw"], vocab.unembedding[order] @ mlp.down[:, neuron], rtol=1e-4, atol=1e-6
        )
        np.testing.assert_allclose(rows["output_norm"], np.linalg.norm(mlp.down[:, neuron]), rtol=1e-6)
    assert frame.height == 5 * 2 * 4


def test_inputs_use_gate_up_and_the_norm() -> None:
    rng = np.random.default_rng(2)
    mlp, vocab = random_mlp(rng, bias_gate=np.full(5, 0.3, np.float32)), random_vocab(rng)
    x = vocab.embedding / np.sqrt((vocab.embedding**2).mean(axis=1, keepdims=True) + 1e-5) * mlp.norm
    gate = x @ mlp.gate.T + 0.3
    expected = gate / (1 + np.exp(-gate)) * (x @ mlp.up.T)
    frame = project_inputs(mlp, vocab, token_text=str, k=3)["input_projections"]
    for (neuron, direction), rows in frame.partition_by("neuron", "direction", as_dict=True).items():
        order = np.argsort(-direction * expected[:, neuron])[:3]
        assert rows["token_id"].to_list() == order.tolist()
        np.testing.assert_allclose(rows["response"], expected[order, neuron], rtol=1e-4)


def test_a_layer_without_gate_feeds_up_to_the_activation() -> None:
    rng = np.random.default_rng(3)
    bias = rng.normal(size=6).astype(np.float32)
    mlp = random_mlp(rng, gate=None, act="gelu_tanh", norm_kind="layer", norm_bias=bias)
    x = rng.normal(size=(7, 6)).astype(np.float32)
    centred = x - x.mean(axis=1, keepdims=True)
    inputs = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5) * mlp.norm + bias
    np.testing.assert_allclose(normalised(x, mlp), inputs, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(responses(inputs, mlp), activation(inputs @ mlp.up.T, "gelu_tanh"), rtol=1e-5)


def reference_activation(name: str) -> Callable[[float], float]:
    import math

    return {
        "relu": lambda x: max(x, 0.0),
        "silu": lambda x: x / (1 + math.exp(-x)),
        "gelu": lambda x: 0.5 * x * (1 + math.erf(x / math.sqrt(2))),
        "gelu_tanh": lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    }[name]


@pytest.mark.parametrize("name", ["relu", "silu", "gelu", "gelu_tanh"])
def test_activation_functions_are_those_of_the_models(name: Any) -> None:
    x = np.linspace(-8, 8, 101, dtype=np.float32)
    got = activation(x, name)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, [reference_activation(name)(float(v)) for v in x], atol=2e-6)
    assert np.isfinite(activation(np.array([-1e4, 1e4], np.float32), name)).all()
