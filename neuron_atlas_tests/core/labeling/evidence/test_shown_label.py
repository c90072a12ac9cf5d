"""Which label is shown and which score stands for it, by hand; that all stores agree is in `test_shown_labels.py`."""

from __future__ import annotations

import polars as pl

from neuron_atlas.core.labeling.evidence.shown_label import LABELERS, best_labels, best_scores


def labels(*rows: tuple[int, str, str | None]) -> pl.DataFrame:
    return pl.DataFrame(
        [{"layer": 0, "neuron": neuron, "polarity": 1, "labeler": who, "label": label} for neuron, who, label in rows],
        schema_overrides={"label": pl.String},
    )


def test_a_label_comes_before_none_then_the_most_trusted_then_the_name() -> None:
    rows = labels(
        *((1, who, f"by {who}") for who in reversed(LABELERS)),
        (2, "human", None),
        (2, "rules", "by rules"),
        (3, "zebra", "by zebra"),
        (3, "Alpha", "by Alpha"),
        (4, "rules", None),
        (4, "import", None),
    )
    assert best_labels(rows).select("neuron", "labeler", "label").rows() == [
        (1, "human", "by human"),
        (2, "rules", "by rules"),
        (3, "Alpha", "by Alpha"),
        (4, "import", None),
    ]


def test_the_hardest_metric_that_gave_a_number_stands_for_a_label() -> None:
    rows = pl.DataFrame(
        {
            "neuron": [1, 1, 1, 2, 2, 3, 4],
            "metric": ["fuzzing", "simulation", "detection", "simulation", "fuzzing", "simulation", "projection_rank"],
            "score": [0.9, 0.1, 0.8, None, 0.4, None, 0.9],
        }
    )
    assert best_scores(rows, ["neuron"]).rows() == [
        (1, "simulation", 0.1),
        (2, "fuzzing", 0.4),
        (3, "simulation", None),
    ]
