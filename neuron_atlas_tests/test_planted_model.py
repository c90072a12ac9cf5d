"""The hand-written model behaves as its truth says: who fires, who promotes, and through whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from neuron_atlas.core.records import NeuronId
from neuron_atlas_tests.planted_model import LAYERS, PlantedTruth, write_planted_model


@dataclass(frozen=True)
class Run:
    """Logits at the last token [vocabulary] and each layer's activations there [layers, neurons]."""

    logits: NDArray[np.float32]
    activations: NDArray[np.float32]


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> PlantedTruth:
    return write_planted_model(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def tokenizer(truth: PlantedTruth):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(truth.folder)


@pytest.fixture(scope="module")
def model(truth: PlantedTruth):
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    return AutoModelForCausalLM.from_pretrained(truth.folder).eval()


@pytest.fixture(scope="module")
def run(model, tokenizer) -> Callable[..., Run]:
    """Run one prompt; ``silenced`` neurons have their activation set to zero everywhere."""
    import torch

    def run_prompt(prompt: str, silenced: tuple[NeuronId, ...] = ()) -> Run:
        kept: dict[int, NDArray[np.float32]] = {}

        def hook(layer: int):
            def read(_module, arguments):
                activations = arguments[0].clone()
                for neuron in silenced:
                    if neuron.layer == layer:
                        activations[..., neuron.neuron] = 0
                kept[layer] = activations[0, -1].numpy()
                return (activations,)

            return read

        handles = [
            layer.mlp.down_proj.register_forward_pre_hook(hook(index)) for index, layer in enumerate(model.model.layers)
        ]
        with torch.no_grad():
            logits = model(**tokenizer(prompt, return_tensors="pt")).logits[0, -1].numpy()
        for handle in handles:
            handle.remove()
        return Run(logits=logits, activations=np.stack([kept[index] for index in range(LAYERS)]))

    return run_prompt


def ids(tokenizer, tokens: tuple[str, ...]) -> list[int]:
    return [tokenizer.convert_tokens_to_ids(token) for token in tokens]


def test_at_least_eight_neurons_over_all_layers_and_two_modules(truth: PlantedTruth) -> None:
    assert len(truth.neurons) >= 8
    assert {planted.id.layer for planted in truth.neurons} == set(range(LAYERS))
    assert len(truth.modules) == 2
    for module in truth.modules:
        assert {neuron for wire in module.wires for neuron in wire} == set(module.members)


def test_each_neuron_fires_on_its_tokens_and_on_no_other(truth: PlantedTruth, run) -> None:
    for prompt in (*truth.prompts, *truth.silent_prompts):
        last = f" {prompt.split()[-1]}"
        activations = run(prompt).activations
        for planted in truth.neurons:
            value = activations[planted.id.layer, planted.id.neuron] * planted.polarity
            assert value > 1 if last in planted.fires_on else value == 0, (prompt, planted.id, value)


def test_the_promoted_token_is_the_next_token(truth: PlantedTruth, run, tokenizer) -> None:
    for prompt in truth.prompts:
        last = f" {prompt.split()[-1]}"
        promoted = {t for planted in truth.neurons if last in planted.fires_on for t in planted.promotes}
        best = np.argsort(-run(prompt).logits)[: len(promoted)]
        assert set(best) == set(ids(tokenizer, tuple(promoted))), prompt


def test_logit_lens_of_a_logit_neuron_leads_with_its_tokens_and_of_a_routing_neuron_is_zero(
    truth: PlantedTruth, model, tokenizer
) -> None:
    unembedding = model.lm_head.weight.detach().numpy()
    for planted in truth.neurons:
        column = model.model.layers[planted.id.layer].mlp.down_proj.weight.detach().numpy()[:, planted.id.neuron]
        lens = planted.polarity * (unembedding @ column)
        if planted.kind == "routing":
            assert not lens.any()
        else:
            assert set(np.flatnonzero(lens)) == set(ids(tokenizer, planted.promotes))
            assert lens.max() > 0


def test_input_tokens_lead_the_response_to_bare_embeddings(truth: PlantedTruth, model, tokenizer) -> None:
    embeddings = model.model.embed_tokens.weight.detach().numpy()
    normed = embeddings / np.sqrt((embeddings**2).mean(axis=1, keepdims=True))
    for planted in truth.neurons:
        mlp = model.model.layers[planted.id.layer].mlp
        gate = normed @ mlp.gate_proj.weight.detach().numpy()[planted.id.neuron]
        up = normed @ mlp.up_proj.weight.detach().numpy()[planted.id.neuron]
        response = planted.polarity * gate / (1 + np.exp(-gate)) * up
        fires = set(ids(tokenizer, planted.fires_on)) if planted.reads_tokens else set()
        assert set(np.flatnonzero(response > 0.5)) == fires
        assert not np.delete(response, sorted(fires)).any()


def test_a_routing_neuron_acts_through_its_named_neuron_alone(truth: PlantedTruth, run, tokenizer) -> None:
    routing = [planted for planted in truth.neurons if planted.kind == "routing"]
    assert routing
    for planted in routing:
        assert planted.via is not None
        prompt = f"see the{planted.fires_on[0]}"
        whole, without = run(prompt), run(prompt, (planted.id,))
        assert without.activations[planted.via.layer, planted.via.neuron] == 0
        promoted = ids(tokenizer, planted.promotes)
        assert np.all(whole.logits[promoted] - without.logits[promoted] > 3)
        without_both, without_via = run(prompt, (planted.id, planted.via)), run(prompt, (planted.via,))
        np.testing.assert_allclose(without_both.logits, without_via.logits, atol=0.02)


def test_wires_of_a_module_carry_the_signal(truth: PlantedTruth, run) -> None:
    for module in truth.modules:
        for source, target in module.wires:
            prompt = f"see the{truth.neuron(source).fires_on[0]}"
            assert abs(run(prompt).activations[target.layer, target.neuron]) > 1
            assert run(prompt, (source,)).activations[target.layer, target.neuron] == 0


def test_the_same_files_are_written_twice(truth: PlantedTruth, tmp_path: Path) -> None:
    write_planted_model(tmp_path)
    for path in truth.folder.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_nothing_planted_there(truth: PlantedTruth) -> None:
    with pytest.raises(KeyError):
        truth.neuron(NeuronId(0, 0))
