"""Train the demo model: a Llama of 6 layers x 384 neurons that knows the small world.

    python -m neuron_atlas.demo.train --out DIR [--steps N] [--seed S] [--threads T]

Plain next-token prediction on texts drawn afresh at every step, AdamW with a cosine schedule, fp32 on the CPU. With one
seed and one thread count the weights come out identical on one machine; another processor may round differently. What
belongs here: the training loop and the model folder. Not here: its numbers (``training_settings``), what the model is taught
(``world``), how its answers are counted (``accuracy``).
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neuron_atlas.demo import world
from neuron_atlas.demo.accuracy import NextTokenLogits, TaskAccuracy, measure_accuracy
from neuron_atlas.demo.model_card import write_model_card
from neuron_atlas.demo.tokenizer import BOS_ID, EOS_ID, PAD_ID, build_tokenizer, save_tokenizer
from neuron_atlas.demo.training_settings import TrainingSettings

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from transformers import LlamaForCausalLM


def train(settings: TrainingSettings) -> tuple[LlamaForCausalLM, Tokenizer]:
    """Train from scratch; progress goes to stderr. The model is returned in evaluation mode, fp32."""
    import torch

    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    tokenizer = build_tokenizer(world.vocabulary(), pattern=world.TOKEN_PATTERN)
    model = _new_model(settings, vocabulary_size=tokenizer.get_vocab_size())
    torch.nn.init.normal_(model.model.embed_tokens.weight, std=settings.embedding_std)
    groups = _parameter_groups(model, settings)
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98))
    batches = _batches(tokenizer, seed=settings.seed, batch_size=settings.batch_size)
    started = time.monotonic()
    model.train()
    for step, (ids, labels) in enumerate(islice(batches, settings.steps)):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _schedule(step, settings)
        logits = model(input_ids=ids).logits
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 0 or step == settings.steps - 1:
            print(f"step {step:5d}  loss {loss.item():.4f}  {time.monotonic() - started:6.1f} s", file=sys.stderr)
    return model.eval(), tokenizer


def next_token_logits(model: LlamaForCausalLM) -> NextTokenLogits:
    """The model as `measure_accuracy` asks it: rows of token ids in, logits after each row's last token out."""
    import torch

    def ask(rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        last = torch.tensor([len(row) - 1 for row in rows])
        with torch.no_grad():
            logits = model(input_ids=_pad(rows)).logits
        return logits[torch.arange(len(rows)), last].float().numpy()

    return ask


def save_model_folder(
    model: LlamaForCausalLM, tokenizer: Tokenizer, settings: TrainingSettings, folder: Path
) -> tuple[TaskAccuracy, ...]:
    """Write weights, config, tokenizer, split, training settings, accuracies and the model card; return the accuracies."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    save_tokenizer(tokenizer, folder, longest=settings.longest)
    questions = [question for domain in world.DOMAINS for question in world.examples(domain)]
    accuracies = measure_accuracy(next_token_logits(model), tokenizer, questions)
    card = write_model_card(
        settings=settings,
        accuracies=accuracies,
        parameters=sum(weight.numel() for weight in model.parameters()),
        vocabulary=tokenizer.get_vocab_size(),
        mirrored=world.MIRRORED_COUNT,
        unseen=world.UNSEEN_COUNT,
        opposites=world.HELD_OUT_OPPOSITES_PER_LANGUAGE,
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    _write_json(folder / "split.json", world.split_record())
    _write_json(folder / "training.json", {"recipe": asdict(settings), "grades": [asdict(each) for each in accuracies]})
    return accuracies


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, train, and write the model folder."""
    parser = argparse.ArgumentParser(prog="python -m neuron_atlas.demo.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write the model to")
    parser.add_argument("--steps", type=int, default=TrainingSettings.steps)
    parser.add_argument("--seed", type=int, default=TrainingSettings.seed)
    parser.add_argument("--threads", type=int, default=TrainingSettings.threads)
    options = parser.parse_args(arguments)
    settings = TrainingSettings(seed=options.seed, steps=options.steps, threads=options.threads)
    model, tokenizer = train(settings)
    for each in save_model_folder(model, tokenizer, settings, options.out):
        kind = "held out" if each.is_held_out else "trained"
        print(
            f"{each.domain:13s} {each.task:20s} {kind:9s} {each.questions:4d} questions  "
            f"top-1 {each.accuracy_top1:6.1%}  beats contrast {each.accuracy_contrast:6.1%}"
        )


def _new_model(settings: TrainingSettings, *, vocabulary_size: int) -> LlamaForCausalLM:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary_size,
        hidden_size=settings.hidden_size,
        intermediate_size=settings.intermediate_size,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.key_value_heads,
        max_position_embeddings=settings.longest,
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
        pad_token_id=PAD_ID,
        bos_token_id=BOS_ID,
        eos_token_id=EOS_ID,
        attn_implementation="eager",  # pyright: ignore[reportCallIssue]  # read from kwargs; it decides the rounding
    )
    return LlamaForCausalLM(config)


def _parameter_groups(model: LlamaForCausalLM, settings: TrainingSettings) -> list[dict[str, object]]:
    """All weights by their decay: queries and keys; other matrices; embeddings and vectors, which have none."""
    groups: dict[float, list[torch.nn.Parameter]] = {}
    for name, weight in model.named_parameters():
        if ".q_proj." in name or ".k_proj." in name:
            decay = settings.attention_decay
        else:
            decay = 0.0 if weight.ndim != 2 or "embed_tokens" in name else settings.weight_decay
        groups.setdefault(decay, []).append(weight)
    return [{"params": weights, "weight_decay": decay} for decay, weights in groups.items()]


def _batches(tokenizer: Tokenizer, *, seed: int, batch_size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless pairs of input ids and labels, both [batch, longest text] int64; labels ignore padding.

    Texts of similar length share a batch (eight batches are drawn, sorted and shuffled at a time): half the padding.
    """
    rng = random.Random(f"batches:{seed}")
    texts = world.texts(seed=seed, mix=world.TRAINING_MIX)
    while True:
        rows = [[*encoding.ids, EOS_ID] for encoding in tokenizer.encode_batch(list(islice(texts, 8 * batch_size)))]
        rows.sort(key=len)
        starts = list(range(0, len(rows), batch_size))
        rng.shuffle(starts)
        for start in starts:
            ids = _pad(rows[start : start + batch_size])
            yield ids, ids.masked_fill(ids == PAD_ID, -100)


def _pad(rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """Rows of token ids as one int64 tensor [rows, longest], padded on the right."""
    import torch

    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[PAD_ID] * (longest - len(row))] for row in rows], dtype=torch.long)


def _schedule(step: int, settings: TrainingSettings) -> float:
    """Linear warm-up, then a cosine from 1 to 0: the factor on the learning rate."""
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return 0.5 * (1.0 + math.cos(math.pi * done))


def _write_json(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
