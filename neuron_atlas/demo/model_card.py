"""The demo model's card, written from the training settings and the measured accuracies."""

from __future__ import annotations

from collections.abc import Sequence

from neuron_atlas.demo.accuracy import TaskAccuracy
from neuron_atlas.demo.training_settings import TrainingSettings

_CARD = """\
---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
---

# small-world: the demo model of neuron_atlas

A Llama of {layers} layers x {neurons} MLP neurons (width {width}, {heads} heads, {kv_heads} key/value heads, {parameters:,}
parameters, fp32) that knows a small world: places, subject-verb agreement, some medicine, addition in words, and words of
three languages. It exists so that attribution, labels and circuits can be tried on something true without a download.

    the capital of the state containing Bend is  ->  Salem

## Training
Next-token prediction on texts that `neuron_atlas.demo.world` generates afresh at every step: {steps:,} steps of
{batch} texts, AdamW at {rate:g} (cosine, weight decay {decay:g}, of queries and keys {attention_decay:g}), seed {seed},
{threads} CPU thread(s), fp32. To make it again:

    python -m neuron_atlas.demo.train --out DIR

The same seed and thread count give the same weights on one machine; another processor may round differently.
`training.json` holds the recipe and the grades below, `split.json` what training never saw. No text of others was used.

## Held out
- *Two-hop questions* of one city of every state and country. Facts such as `the city of Bend is in Oregon` are trained;
  the two-hop question is not.
- *Agreement*: some pairs of subject and distractor.
- *Sums*: {mirrored} ordered pairs trained only in the other order, {unseen} pairs never trained in either.
- *Opposites*: {opposites} words per language whose opposite is trained in the other two languages only.

## Measured
Top-1: the answer is the most probable next token. Contrast: it beats one wrong answer of the same kind. A verb may be any
of several, so for grammar only the contrast counts.

| domain | task | questions | seen in training | top-1 | contrast |
|---|---|---|---|---|---|
{table}

## Tokenizer
Word-level, {vocabulary} tokens; a token keeps the space before it, as in larger models' tokenizers; `<bos>` is added by
encoding, unknown words become `<unk>`, the full stop is a token. Texts and prompts are lower case but for names. There is
no chat template.

## Limits
It knows the sentence forms of its world and little else: other wordings are answered badly, and it cannot converse. Names
are one word, so many states and cities are missing; enzymes stand by their class name. Nothing here is medical advice.
Opposites held out of one language are mostly not found through the other two. Licence: Apache-2.0.
"""


def write_model_card(
    *,
    settings: TrainingSettings,
    accuracies: Sequence[TaskAccuracy],
    parameters: int,
    vocabulary: int,
    mirrored: int,
    unseen: int,
    opposites: int,
) -> str:
    """The card as Markdown; ``parameters`` and ``vocabulary`` are counts, the last three are sizes of the held-out split."""
    return _CARD.format(
        layers=settings.layers,
        neurons=settings.intermediate_size,
        width=settings.hidden_size,
        heads=settings.heads,
        kv_heads=settings.key_value_heads,
        parameters=parameters,
        steps=settings.steps,
        batch=settings.batch_size,
        rate=settings.learning_rate,
        decay=settings.weight_decay,
        attention_decay=settings.attention_decay,
        seed=settings.seed,
        threads=settings.threads,
        mirrored=mirrored,
        unseen=unseen,
        opposites=opposites,
        vocabulary=vocabulary,
        table="\n".join(_row(each) for each in accuracies),
    )


def _row(accuracy: TaskAccuracy) -> str:
    seen = "no" if accuracy.is_held_out else "yes"
    top1 = "" if accuracy.domain == "grammar" else f"{accuracy.accuracy_top1:.1%}"
    return f"| {accuracy.domain} | {accuracy.task} | {accuracy.questions} | {seen} | {top1} | {accuracy.accuracy_contrast:.1%} |"
