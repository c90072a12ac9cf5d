"""A world small enough to know by heart: 3 layers of 4 neurons and a text of 11 tokens (two words of bits, the last one not full).

L0/N0 +   "promotes state capitals"   output, rules 1,  score 0.9   cluster 3.1
L0/N0 -   "suppresses plural verbs"   output, rules 1,  score 0.1
L0/N1 +   "fires on 100% of names"    input,  rules 1,  no score    cluster 3.2
L1/N2 +   "promotes state capitals"   output, human,    score 0.5   cluster 31
L1/N2 +   "old words on capitals"     output, rules 0,  score 0.2   (another labeler's, of an older version)
L2/N3 -   "fires on a_b and a.b"      input,  rules 2,  score 0.7   no cluster
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from neuron_atlas.core.publication.filters.neuron_facts import (
    LABEL_COLUMNS,
    MODULE_COLUMNS,
    NeuronFacts,
    no_quantiles,
)
from neuron_atlas.core.publication.filters.reading import Reading
from neuron_atlas.core.tables import QUANTILE_LEVELS

TOKENS = ("<s>", "the", " capital", " of", " the", " state", " containing", " Bend", " is", " Salem", ".")
LAYERS, NEURONS = 3, 4

ROWS = [
    (0, 0, 1, "output", "rules", "1", "promotes state capitals", "Raises Salem.", ["Salem"], "lexical", 0.9, "high"),
    (0, 0, -1, "output", "rules", "1", "suppresses plural verbs", None, ["are"], "lexical", 0.1, "low"),
    (0, 1, 1, "input", "rules", "1", "fires on 100% of names", None, [], "token", None, None),
    (1, 2, 1, "output", "human", "1", "promotes state capitals", None, ["Salem"], "lexical", 0.5, "medium"),
    (1, 2, 1, "output", "rules", "0", "old words on capitals", None, [], "lexical", 0.2, "low"),
    (2, 3, -1, "input", "rules", "2", "fires on a_b and a.b", None, ["a_b"], "token", 0.7, "high"),
]
AXES = ["capital", "plural", "name", "fire"]


class WordAxes:
    """Meaning by eye: a text's vector counts the words of `AXES` that it contains, scaled to length 1."""

    def vectors(self, labels) -> np.ndarray:
        counts = np.array([[word in label for word in AXES] for label in labels], np.float32) + np.float32(1e-3)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)

    def similarities(self, question: str, labels: pl.Series) -> np.ndarray:
        return self.vectors(labels.to_list()) @ self.vectors([question])[0]


@pytest.fixture(scope="session")
def known() -> NeuronFacts:
    quantiles = no_quantiles(LAYERS, NEURONS)
    for place, level in enumerate(
        QUANTILE_LEVELS
    ):  # the limits of every neuron but L2/N0 are ±(2 + log10 of its rarity)
        share = min(level, 1 - level)
        quantiles[place] = 0.0 if share == 0.5 else (1 if level > 0.5 else -1) * (2 - np.log10(share) - 1)
    quantiles[:, 2, 0] = np.nan
    modules = pl.DataFrame(
        [(0, 0, "3.1", "capitals"), (0, 1, "3.2", "names"), (1, 2, "31", None)], schema=MODULE_COLUMNS, orient="row"
    )
    descriptions = pl.DataFrame(ROWS, schema=LABEL_COLUMNS, orient="row")
    return NeuronFacts("r" * 64, LAYERS, NEURONS, descriptions, quantiles, modules, WordAxes())


@pytest.fixture(scope="session")
def reading() -> Reading:
    """Activations from a seed, with five planted; the relevance to any goal is the activation / 100, read backwards in time."""
    activations = np.random.default_rng(0).normal(size=(LAYERS, len(TOKENS), NEURONS)).astype(np.float32)
    activations[0, 7, 0] = 9.0  # L0/N0 at " Bend"
    activations[0, 9, 0] = -9.0  # and the other way at " Salem"
    activations[1, 7, 2] = 6.5
    activations[2, 7, 0] = 99.0  # L2/N0, which has no quantiles
    activations[2, 10, 3] = -8.5
    ids = tuple(range(len(TOKENS)))
    is_counted = np.arange(len(TOKENS)) > 0
    activations[0, 0, 1] = 50.0  # a special token
    return Reading(ids, TOKENS, is_counted, activations, lambda _goal: activations[:, ::-1].copy() / np.float32(100))
