"""The atlas and the search database show the same label of a neuron, scored by the same metric.

On random tables, with ties, unknown labelers, unlabeled rows and metrics without a number."""

from __future__ import annotations

import random
from pathlib import Path

import duckdb
import pytest

from neuron_atlas.adapters.atlas_duckdb import build_atlas
from neuron_atlas.core.labeling.evidence.shown_label import LABELERS, METRICS
from neuron_atlas.core.publication.search.label_records import label_records
from neuron_atlas.core.tables import EDGE_STATS, LABEL_SCORES, NEURON_PROFILES
from neuron_atlas_tests.adapters.atlas_duckdb.conftest import hand_made, table_of

KEY = ("layer", "neuron", "polarity", "side")
UNKNOWN = ("zebra", "Alpha", "älter")
"""Labelers that `LABELERS` does not know: by name, after all that it does."""


def _random_labels(rng: random.Random) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for neuron in range(20):
        for polarity in (1, -1):
            for labeler in rng.sample([*LABELERS, *UNKNOWN], rng.randint(0, 4)):
                text = f"label {rng.randint(0, 2)} of it" if rng.random() < 0.6 else None
                key = {"layer": neuron % 2, "neuron": neuron, "polarity": polarity, "labeler": labeler}
                rows.append({**key, "label": text, "unlabeled_reason": None if text else "weak"})
    return rows


def _random_scores(labeled: dict[str, list[dict[str, object]]], rng: random.Random) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for side, given in labeled.items():
        for row in given:
            key = {name: row[name] for name in ("layer", "neuron", "polarity", "labeler")}
            for metric in rng.sample([*METRICS, "projection_rank"], rng.randint(0, 4)):
                score = rng.choice([None, 0.1, 0.5])
                rows.append({**key, "side": side, "metric": metric, "score": score, "corrected": score})
    return rows


def _first(row: dict[str, object]) -> tuple[object, ...]:
    """The order again, in plain Python."""
    who = str(row["labeler"])
    return row["label"] is None, LABELERS.index(who) if who in LABELERS else len(LABELERS), who


@pytest.mark.parametrize("seed", range(5))
def test_the_atlas_and_the_search_database_show_the_same_label_and_score(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    given = {"output": _random_labels(rng), "input": _random_labels(rng)}
    scores = _random_scores(given, rng)
    tables = {
        **{name: table_of(name, hand_made()[name]) for name in (EDGE_STATS.name, NEURON_PROFILES.name)},
        **{f"{side}_labels": table_of(f"{side}_labels", rows) for side, rows in given.items()},
        LABEL_SCORES.name: table_of(LABEL_SCORES.name, scores),
    }
    expected: dict[tuple[object, ...], tuple[object, ...]] = {}
    for side, rows in given.items():
        for row in sorted(rows, key=_first, reverse=True):  # the first of a key is written last
            expected[row["layer"], row["neuron"], row["polarity"], side] = (row["labeler"], row["label"])
    best = {
        key: min(
            (s for s in scores if (*(s[name] for name in KEY), s["labeler"]) == (*key, who) and s["metric"] in METRICS),
            key=lambda s: (s["score"] is None, METRICS.index(str(s["metric"]))),
            default=None,
        )
        for key, (who, _) in expected.items()
    }

    path = tmp_path / "atlas.duckdb"
    build_atlas(path, tables, facts={})
    with duckdb.connect(path, read_only=True) as connection:
        shown = connection.sql(f"SELECT {', '.join(KEY)}, labeler, label, metric, score FROM neuron_labels").fetchall()
    assert {row[:4]: row[4:6] for row in shown} == expected
    assert {row[:4]: row[6] for row in shown} == {key: score and score["metric"] for key, score in best.items()}

    searched = label_records(tables).filter("is_preferred").select(*KEY, "labeler", "label", "metric").rows()
    assert {row[:4]: row[4:6] for row in searched} == expected
    assert {row[:4]: row[6] for row in searched} == {
        key: score["metric"] if score and score["score"] is not None else None for key, score in best.items()
    }
