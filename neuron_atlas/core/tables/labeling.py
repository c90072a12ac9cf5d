"""Tables of labeling: what a neuron does, what triggers it, and how good that is."""

from __future__ import annotations

import polars as pl

from neuron_atlas.core.tables.declare import F32, I8, I32, NEURON, POLARITY, TEXT, Declared, Table, columns

_LABEL: tuple[Declared, ...] = (
    *NEURON,
    POLARITY,
    ("labeler", TEXT, "rules | openai | openai-batch | human | import"),
    ("version", TEXT, "version of the labeler: code, prompt template and model"),
    ("label", TEXT, "3 to 8 words; missing when unlabeled", True),
    ("description", TEXT, "1 or 2 sentences", True),
    ("type", TEXT, "kind of function, from the side's enumeration"),
    ("confidence", F32, "the labeler's own confidence, 0..1", True),
    ("unlabeled_reason", TEXT, "why there is no label", True),
    ("direction", I8, "+1: the label says that its tokens rise, or that they drive the neuron; -1: that they fall"),
    ("tokens", pl.List(TEXT), "texts of the tokens that the label predicts (promoted ones, or those it fires on)"),
    ("token_ids", pl.List(I32), "ids of these tokens"),
    ("neighbours", pl.List(TEXT), "neighbour labels it was made with, as L18/N6721+@<label hash>"),
    ("evidence_hash", TEXT, "sha256 of the evidence shown"),
    ("model_revision", TEXT, "sha256 of the model"),
)
_LABEL_KEY = ("layer", "neuron", "polarity", "labeler")
OUTPUT_LABELS = Table("output_labels", "What a neuron does when it fires.", _LABEL_KEY, columns(*_LABEL))
INPUT_LABELS = Table("input_labels", "What makes a neuron fire.", _LABEL_KEY, columns(*_LABEL))
LABEL_SCORES = Table(
    "label_scores",
    "How well a label predicts held-out evidence, compared with the label of another neuron.",
    ("layer", "neuron", "polarity", "labeler", "side", "metric"),
    columns(
        *NEURON,
        POLARITY,
        ("labeler", TEXT, "who labeled"),
        ("side", TEXT, "output | input"),
        ("metric", TEXT, "detection | fuzzing | simulation | intervention | projection_rank"),
        ("score", F32, "the metric's value", True),
        ("null_score", F32, "the same with another neuron's label", True),
        ("corrected", F32, "(score - null) / (1 - null): 0 is chance, 1 is perfect", True),
        ("ci_low", F32, "lower end of the 95 % interval of score", True),
        ("ci_high", F32, "upper end", True),
        ("n", I32, "held-out items"),
        ("interpretability", TEXT, "low | medium | high, from corrected and its interval", True),
    ),
)
