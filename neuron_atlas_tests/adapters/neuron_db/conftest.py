"""A small model's labels and an embedder whose vectors can be worked out by eye."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from neuron_atlas.core.records import ModelSpec, Tables
from neuron_atlas.core.tables import ACTIVATION_STATS, EXEMPLARS, LABEL_SCORES, OUTPUT_LABELS, QUANTILE_LEVELS, Table

DIMENSION = 64


class WordEmbedder:
    """A text's vector is the sum of its words' random unit vectors: texts that share words are near."""

    dimension = DIMENSION

    def __init__(self, embedder_id: str = "words@1") -> None:
        self.embedder_id = embedder_id
        self.n_embedded = 0

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.n_embedded += len(texts)
        total = np.array([sum(self._word(w) for w in text.lower().split()) for text in texts], dtype=np.float32)
        return total / np.linalg.norm(total, axis=1, keepdims=True)

    def _word(self, word: str) -> NDArray[np.float64]:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
        vector = np.random.default_rng(seed).standard_normal(DIMENSION)
        return vector / np.linalg.norm(vector)


def fitted(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with the columns it lacks: missing where that is allowed, else empty or 0."""
    blanks = {pl.String(): "", pl.Boolean(): False}
    absent = [c for c in table.columns if c.name not in frame.columns]
    values = [None if c.optional else [] if isinstance(c.dtype, pl.List) else blanks.get(c.dtype, 0) for c in absent]
    filled = [pl.lit(v, dtype=c.dtype).alias(c.name) for c, v in zip(absent, values, strict=True)]
    return table.checked(frame.with_columns(filled))


def labels(rows: Sequence[dict[str, object]], table: Table = OUTPUT_LABELS) -> pl.DataFrame:
    """Labels with the given columns; polarity +1, labeler rules and type semantic unless said otherwise."""
    usual = {"polarity": 1, "labeler": "rules", "version": "rules/1", "type": "semantic", "direction": 1, "tokens": []}
    return fitted(table, pl.DataFrame([{**usual, **row} for row in rows], infer_schema_length=None))


def scores(rows: Sequence[dict[str, object]]) -> pl.DataFrame:
    usual = {"polarity": 1, "labeler": "rules", "side": "output", "metric": "intervention", "n": 10}
    return fitted(LABEL_SCORES, pl.DataFrame([{**usual, **row} for row in rows], infer_schema_length=None))


@pytest.fixture
def embedder() -> WordEmbedder:
    return WordEmbedder()


@pytest.fixture(scope="session")
def model() -> ModelSpec:
    return ModelSpec("demo", "revision-1", "llama", 4, 1000, 16, 50, "float32")


@pytest.fixture(scope="session")
def tables() -> Tables:
    """Four neurons: two about cities (one also labeled by a person), one about verbs, one unlabeled."""
    output = labels(
        [
            {"layer": 0, "neuron": 1, "label": "capital city names", "tokens": ["Paris", "\x00"]},
            {"layer": 1, "neuron": 2, "label": "large city names", "description": "Raises names of towns, 100%."},
            {"layer": 1, "neuron": 2, "label": "river names", "labeler": "human"},
            {"layer": 2, "neuron": 3, "label": "plural verbs", "polarity": -1},
            {"layer": 3, "neuron": 4, "unlabeled_reason": "too few examples"},
        ]
    )
    measured = scores(
        [
            {"layer": 0, "neuron": 1, "score": 0.75, "corrected": 0.5, "metric": "projection_rank"},
            {"layer": 0, "neuron": 1, "score": 0.5, "corrected": 0.25, "ci_low": 0.375, "ci_high": 0.625},
            {"layer": 1, "neuron": 2, "score": 1.0, "corrected": 1.0, "interpretability": "high"},
            {"layer": 2, "neuron": 3, "polarity": -1, "score": 0.5, "corrected": None},
        ]
    )
    stats = fitted(
        ACTIVATION_STATS,
        pl.DataFrame({"corpus": "tiny", "layer": [0], "neuron": [1], "quantiles": [[float(i) for i in range(15)]]}),
    )
    exemplars = fitted(
        EXEMPLARS,
        pl.DataFrame(
            {
                "corpus": "tiny", "layer": 0, "neuron": 1, "polarity": 1, "kind": "top", "rank": [0, 1],
                "tokens": [["In", " Paris"], ["\x00", " Rome"]], "activations": [[0.0, 2.0], [0.5, 1.5]],
                "peak_position": 1, "peak_activation": [2.0, 1.5],
            }
        ),
    )  # fmt: skip
    assert len(QUANTILE_LEVELS) == 15
    frames = {"output_labels": output, "label_scores": measured, "activation_stats": stats, "exemplars": exemplars}
    return {name: frame.lazy() for name, frame in frames.items()}


@pytest.fixture(scope="session")
def many() -> Tables:
    """1,200 neurons in 4 layers with 400 different labels; scores 0, 1/1200, 2/1200 …"""
    words = [f"w{i}" for i in range(60)]
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(words, size=4, replace=False)) for _ in range(400)]
    neurons = [divmod(i, 300) for i in range(1200)]
    rows = [
        {"layer": layer, "neuron": n, "label": texts[int(rng.integers(400))], "polarity": 1 if n % 3 else -1}
        for layer, n in neurons
    ]
    measured = [
        {
            "layer": r["layer"],
            "neuron": r["neuron"],
            "polarity": r["polarity"],
            "score": i / 1200,
            "corrected": i / 1200,
        }
        for i, r in enumerate(rows)
    ]
    return {"output_labels": labels(rows).lazy(), "label_scores": scores(measured).lazy()}
