"""Training learns, writes a folder that loads, and gives the same weights for the same seed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neuron_atlas.demo import world
from neuron_atlas.demo.accuracy import TaskAccuracy, measure_accuracy
from neuron_atlas.demo.model_card import write_model_card
from neuron_atlas.demo.tokenizer import build_tokenizer
from neuron_atlas.demo.training_settings import TrainingSettings
from neuron_atlas.demo.world import Example

TINY = TrainingSettings(steps=6, batch_size=8, warmup_steps=2, hidden_size=16, intermediate_size=24, layers=2, heads=2)


def weights(settings: TrainingSettings) -> dict[str, np.ndarray]:
    from neuron_atlas.demo.train import train

    model, _ = train(settings)
    return {name: weight.detach().numpy().copy() for name, weight in model.named_parameters()}


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, again, other = weights(TINY), weights(TINY), weights(replace(TINY, seed=8))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["lm_head.weight"], other["lm_head.weight"])


def test_training_lowers_the_loss_and_the_folder_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from neuron_atlas.demo.train import save_model_folder, train

    settings = replace(TINY, steps=61, learning_rate=1e-2)
    model, tokenizer = train(settings)
    losses = [float(line.split()[3]) for line in capsys.readouterr().err.splitlines() if line.startswith("step")]
    assert losses[-1] < losses[0] - 1
    accuracies = save_model_folder(model, tokenizer, settings, tmp_path)
    assert {each.domain for each in accuracies} == set(world.DOMAINS)
    assert json.loads((tmp_path / "training.json").read_text())["recipe"]["steps"] == 61
    loaded, text = AutoModelForCausalLM.from_pretrained(tmp_path), "the capital of Oregon is"
    assert AutoTokenizer.from_pretrained(tmp_path)(text).input_ids == tokenizer.encode(text).ids
    assert np.array_equal(loaded.lm_head.weight.detach().numpy(), model.lm_head.weight.detach().numpy())


def test_accuracy_counts_right_answers_and_won_contrasts() -> None:
    tokenizer = build_tokenizer(["a", " x", " y", " z"], pattern=world.TOKEN_PATTERN)
    x, y, z = (tokenizer.token_to_id(token) for token in (" x", " y", " z"))

    def ask(rows):
        logits = np.zeros((len(rows), 8), np.float32)
        logits[:, x], logits[:, y], logits[:, z] = 3, 2, 1
        return logits

    def question(answer: str, contrast: str, *, held_out: bool = False) -> Example:
        return Example("d", "t", "a", answer, contrast, is_held_out=held_out)

    questions = [question(" x", " y"), question(" y", " z"), question(" z", " x", held_out=True)]
    assert measure_accuracy(ask, tokenizer, questions, batch=2) == (
        TaskAccuracy("d", "t", False, 2, accuracy_top1=0.5, accuracy_contrast=1.0),
        TaskAccuracy("d", "t", True, 1, accuracy_top1=0.0, accuracy_contrast=0.0),
    )
    with pytest.raises(ValueError, match="expected ' w' to be one token"):
        measure_accuracy(ask, tokenizer, [question(" w", " x")])


def test_the_card_shows_the_settings_and_every_accuracy() -> None:
    accuracies = [
        TaskAccuracy("geography", "language", True, 20, 0.95, 1.0),
        TaskAccuracy("grammar", "rc", False, 30, 0.2, 0.9667),
    ]
    card = write_model_card(
        settings=TrainingSettings(seed=99),
        accuracies=accuracies,
        parameters=1_234_567,
        vocabulary=800,
        mirrored=1,
        unseen=2,
        opposites=3,
    )
    assert "| geography | language | 20 | no | 95.0% | 100.0% |" in card
    assert "| grammar | rc | 30 | yes |  | 96.7% |" in card
    assert "seed 99" in card
    assert "1,234,567" in card


def test_the_command_line_asks_for_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    from neuron_atlas.demo.train import main

    with pytest.raises(SystemExit):
        main([])
    assert "--out" in capsys.readouterr().err
