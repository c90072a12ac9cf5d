"""The demo model's card, written from the recipe and the grades, so that its numbers are those measured."""

from __future__ import annotations

from collections.abc import Sequence

from neuron_atlas.demo.accuracy import Grade
from neuron_atlas.demo.training_settings import Recipe

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
    recipe: Recipe,
    grades: Sequence[Grade],
    parameters: int,
    vocabulary: int,
    mirrored: int,
    unseen: int,
    opposites: int,
) -> str:
    """The card as Markdown; ``parameters`` and ``vocabulary`` are counts, the last three are sizes of the held-out split."""
    return _CARD.format(
        layers=recipe.layers,
        neurons=recipe.intermediate_size,
        width=recipe.hidden_size,
        heads=recipe.heads,
        kv_heads=recipe.key_value_heads,
        parameters=parameters,
        steps=recipe.steps,
        batch=recipe.batch_size,
        rate=recipe.learning_rate,
        decay=recipe.weight_decay,
        attention_decay=recipe.attention_decay,
        seed=recipe.seed,
        threads=recipe.threads,
        mirrored=mirrored,
        unseen=unseen,
        opposites=opposites,
        vocabulary=vocabulary,
        table="\n".join(_row(each) for each in grades),
    )


def _row(grade: Grade) -> str:
    seen = "no" if grade.is_held_out else "yes"
    top1 = "" if grade.domain == "grammar" else f"{grade.accuracy_top1:.1%}"
    return f"| {grade.domain} | {grade.task} | {grade.questions} | {seen} | {top1} | {grade.accuracy_contrast:.1%} |"
