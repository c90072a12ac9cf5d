"""Do predicted token responses rank tokens as measured activations do?"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from neuron_atlas.core.aggregation.validation import projection_agreement, ranks, spearman
from neuron_atlas.errors import BadInput

TEXTS = ["the cat", "dog the", "cat dog", "the the dog", "cat meow meow", "meow"]


def test_the_tiny_model_does_what_its_first_layer_predicts(tiny_model: Any) -> None:
    """Layer 0 reads embeddings only: agreement is perfect. L1/N0 is driven by what layer 0 wrote, of which no embedding knows:
    its predictions are all 0, so there is nothing to correlate."""
    frame = projection_agreement(tiny_model, TEXTS)
    assert frame.select("layer", "neuron", "side", "rank_correlation", "n_tokens").rows() == [
        (0, 0, "input", 1.0, 4),
        (0, 1, "input", 1.0, 4),
        (1, 0, "input", None, 4),
        (1, 1, "input", None, 4),
    ]


def test_a_neuron_that_does_the_opposite_scores_minus_one(tiny_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = tiny_model.activations
    monkeypatch.setattr(tiny_model, "activations", lambda ids: (-a for a in honest(ids)))
    assert projection_agreement(tiny_model, TEXTS)["rank_correlation"].to_list() == [-1, -1, None, None]


def test_rare_tokens_do_not_count(tiny_model: Any) -> None:
    assert projection_agreement(tiny_model, TEXTS, min_count=3, max_types=3)["n_tokens"].unique().to_list() == [3]
    with pytest.raises(BadInput, match="at least 3 tokens that occur 5 times"):
        projection_agreement(tiny_model, TEXTS, min_count=5)


def test_equal_values_share_their_rank() -> None:
    assert ranks(np.array([[3.0], [1.0], [3.0], [2.0]])).ravel().tolist() == [2.5, 0, 2.5, 1]


def test_spearman_is_polars_own() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, (30, 4)).astype(float), rng.normal(size=(30, 4))
    expected = [
        pl.DataFrame({"a": a[:, i], "b": b[:, i]}).select(pl.corr("a", "b", method="spearman")).item() for i in range(4)
    ]
    np.testing.assert_allclose(spearman(a, b), expected, rtol=1e-12)
    assert np.isnan(spearman(np.ones((5, 1)), np.arange(5.0)[:, None])).all()
