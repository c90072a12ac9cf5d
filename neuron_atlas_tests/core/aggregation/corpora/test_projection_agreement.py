"""Do predicted token responses, and predicted logits, rank tokens as measured ones do?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from neuron_atlas.adapters.subject_model.load import load_model
from neuron_atlas.core.aggregation.corpora.activation_stats import activation_stats
from neuron_atlas.core.aggregation.corpora.projection_agreement import TokenMeans
from neuron_atlas_tests.planted_model import write_planted_model

TEXTS = ["the cat", "dog the cat", "cat dog", "the the dog", "cat meow meow", "meow"]
"""Four tokens, each at least three times."""


def agreement(model: Any, texts: list[str] = TEXTS, **options: Any) -> dict[str, dict[tuple[int, int], float | None]]:
    """rho by neuron, for every side."""
    frame = activation_stats(model, texts, corpus="pets", **options)["projection_agreement"]
    sides: dict[str, dict[tuple[int, int], float | None]] = {"input": {}, "output": {}}
    for layer, neuron, side, rho in frame.select("layer", "neuron", "side", "rank_correlation").iter_rows():
        sides[side][layer, neuron] = rho
    return sides


def test_the_tiny_model_does_what_its_first_layer_predicts(tiny_model: Any) -> None:
    """Layer 0 reads embeddings only: agreement is perfect. L1/N0 is driven by what layer 0 wrote, of which no embedding knows:
    its predictions are all 0, so there is nothing to correlate."""
    assert agreement(tiny_model)["input"] == {(0, 0): 1, (0, 1): 1, (1, 0): None, (1, 1): None}


def test_a_neuron_that_does_the_opposite_scores_minus_one(tiny_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = tiny_model.activations
    monkeypatch.setattr(tiny_model, "activations", lambda ids: (-a for a in honest(ids)))
    assert agreement(tiny_model)["input"] == {(0, 0): -1, (0, 1): -1, (1, 0): None, (1, 1): None}


def test_pushing_a_writer_does_what_its_projection_says_and_a_router_something_else(tiny_model: Any) -> None:
    """L0/N1 and L1/N0 write "sound", which only meow reads: rho 1. L0/N0 writes "animal", which no logit reads: its projection is 0
    everywhere, and what it does to meow goes through L1/N0. L1/N1 never fires and is not pushed."""
    assert agreement(tiny_model)["output"] == {(0, 0): None, (0, 1): 1, (1, 0): 1}


def test_a_model_that_turns_the_writers_around_is_found_out(tiny_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = tiny_model.final_stream
    monkeypatch.setattr(tiny_model, "final_stream", lambda *a, **k: -honest(*a, **k))
    assert agreement(tiny_model)["output"] == {(0, 0): None, (0, 1): -1, (1, 0): -1}


def test_the_budget_takes_the_largest_peaks_of_every_layer(tiny_model: Any) -> None:
    assert set(agreement(tiny_model, max_steered=2)["output"]) == {(0, 0), (1, 0)}  # peaks 2 and 4, before 1 and 0


def test_too_few_tokens_have_no_rank(tiny_model: Any) -> None:
    assert agreement(tiny_model, ["the cat", "dog"])["input"] == {}


def test_memory_bounds_the_tokens_and_takes_the_most_frequent() -> None:
    ids = [5] * 3 + [1] * 4 + [9] * 5 + [7] * 2
    assert TokenMeans((1, 2), ids, memory_bytes=2**20).types.tolist() == [1, 5, 9]  # 7 is too rare
    assert TokenMeans((1, 2), ids, memory_bytes=2 * 16).types.tolist() == [1, 9]


def test_planted_neurons_are_believed_where_they_should_be(tmp_path: Path) -> None:
    """Those that read a token's embedding are predicted by it; those of the last layer write what they say. A neuron
    on a wire hears its token through others, of which its projection knows nothing."""
    truth = write_planted_model(tmp_path)
    model = load_model(str(truth.folder), device="cpu")
    everything = [*truth.prompts, *truth.silent_prompts]
    sides = agreement(model, [f"{a} {b}" for a in everything for b in everything])
    for planted in truth.neurons:
        key = (planted.id.layer, planted.id.neuron)
        rho = sides["input"][key]
        if planted.reads_tokens:
            assert (rho or 0) > 0.5, planted.id
        written = sides["output"].get(key)
        if planted.kind == "routing":
            assert written is None, planted.id  # it writes into no logit: there is nothing to believe
        elif planted.id.layer == model.spec.n_layers - 1:
            assert written == pytest.approx(1, abs=1e-3), planted.id
        else:  # later neurons answer, each a little, where its projection says nothing: ties are broken at random
            assert (written or 0) > 0.2, planted.id
