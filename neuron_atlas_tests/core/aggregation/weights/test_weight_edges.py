"""Virtual weights: by hand on the tiny model, against whole matrices, and the planted wires."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from neuron_atlas.adapters.subject_model.load import load_model
from neuron_atlas.core.aggregation.weights import weight_edges as module
from neuron_atlas.core.aggregation.weights.weight_edges import weight_edges
from neuron_atlas.core.ports import MlpWeights
from neuron_atlas_tests.planted_model import write_planted_model


def edges(source: MlpWeights, *later: MlpWeights, k: int = 10) -> pl.DataFrame:
    return weight_edges(source, later, k=k)["weight_edges"]


def test_the_tiny_model_has_one_edge(tiny_model: Any) -> None:
    """L0/N0 writes 1 into "animal", which L1/N0 reads with gate and up 1. L0/N1 writes into "sound": no one reads it."""
    rows = edges(tiny_model.mlp_weights(0), tiny_model.mlp_weights(1))
    assert rows.rows() == [(0, 0, 1, 0, 1, 0, 1.0, 1.0, 2.0)]
    assert edges(tiny_model.mlp_weights(1)).height == 0  # nothing comes after the last layer


def random_layer(layer: int, rng: np.random.Generator, **changes: Any) -> MlpWeights:
    gate, up = (rng.normal(size=(7, 5)).astype(np.float32) for _ in range(2))
    down = rng.normal(size=(5, 6)).astype(np.float32)
    kept: dict[str, Any] = {"gate": gate, "up": up, "down": down, "norm": rng.uniform(0.5, 2, 5).astype(np.float32)}
    kept |= {"norm_kind": "rms", "bias_gate": None, "bias_up": None, "norm_bias": None, "norm_eps": 1e-6, "act": "silu"}
    return MlpWeights(layer=layer, **(kept | changes))


@pytest.mark.parametrize("block", [1, 3 * 4 * 6, 2**20])
def test_blocks_find_what_whole_matrices_find(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", block)
    rng = np.random.default_rng(1)
    source = random_layer(0, rng, post_norm=rng.uniform(0.5, 2, 5).astype(np.float32))
    layers = [random_layer(1, rng), random_layer(2, rng, norm_kind="layer")]
    found = edges(source, *layers, k=3)
    expected: list[tuple[int, int, float, int, int]] = []
    for layer in layers:
        assert layer.norm is not None
        assert layer.gate is not None
        assert source.post_norm is not None
        for neuron in range(6):
            written = source.down[:, neuron] * source.post_norm
            seen = layer.norm * (written - written.mean() if layer.norm_kind == "layer" else written)
            for target in range(7):
                read = [weights[target] @ seen for weights in (layer.gate, layer.up)]
                if read[0] * read[1] > 0:
                    expected.append((neuron, int(np.sign(read[0])), float(sum(map(abs, read))), layer.layer, target))
    for (neuron, direction), rows in found.group_by("neuron", "direction"):
        best = sorted((e for e in expected if e[:2] == (neuron, direction)), key=lambda e: -e[2])[:3]
        assert rows.sort("rank").select("target_layer", "target").rows() == [e[3:] for e in best]
        np.testing.assert_allclose(rows.sort("rank")["strength"], [e[2] for e in best], rtol=1e-5)


def test_without_a_gate_the_up_input_alone_counts() -> None:
    rng = np.random.default_rng(0)
    source, target = random_layer(0, rng), random_layer(1, rng, gate=None, norm=None, norm_kind="none", act="gelu")
    rows = edges(source, target, k=7).sort("neuron", "direction", "rank")
    product = target.up @ source.down
    assert rows.height == product.size  # every product has a sign
    assert rows["strength"].to_list() == pytest.approx(rows["up"].abs().to_list())
    assert rows.filter(pl.col("neuron") == 2, pl.col("direction") == 1)["strength"][0] == pytest.approx(
        product[:, 2].max()
    )


def test_planted_wires_lead(tmp_path: Path) -> None:
    truth = write_planted_model(tmp_path)
    model = load_model(str(truth.folder), device="cpu")
    layers = [model.mlp_weights(layer) for layer in range(model.spec.n_layers)]
    for planted in truth.modules:
        for source, target in planted.wires:
            rows = edges(layers[source.layer], *layers[source.layer + 1 :])
            first = rows.filter(pl.col("neuron") == source.neuron, pl.col("rank") == 0, pl.col("direction") == 1)
            assert first.select("target_layer", "target").rows() == [(target.layer, target.neuron)]
