"""Where the right label is known, the rules find it; where the evidence is shuffled, they do not."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from neuron_atlas.core.labeling.label_layer import label_layer
from neuron_atlas.core.labeling.labelers.rules import RulesLabeler
from neuron_atlas.core.records import Frames

KEY = ["layer", "neuron", "polarity"]


def run(tables: Frames) -> Frames:
    """Both passes over both layers in the prescribed order."""
    evidence = {name: frame.lazy() for name, frame in tables.items()}
    made: dict[str, list[pl.DataFrame]] = {"output_labels": [], "input_labels": []}
    for side, layers in (("output", (1, 0)), ("input", (0, 1))):
        for layer in layers:
            labels = {name: pl.concat(frames).lazy() for name, frames in made.items() if frames}
            frames = label_layer(
                side, layer, evidence=evidence, labels=labels, labeler=RulesLabeler(), model_revision="r"
            )
            made[f"{side}_labels"].append(frames[f"{side}_labels"])
    return {name: pl.concat(frames) for name, frames in made.items()}


@pytest.fixture(scope="module")
def labels(world: Frames) -> Frames:
    return run(world)


def recovered(labels: Frames, roles: list, side: str) -> float:
    """Share of roles whose label predicts at least two of the planted words, and nothing but planted words."""
    rows = {tuple(row[k] for k in KEY): row for row in labels[f"{side}_labels"].iter_rows(named=True)}
    hits = 0
    for role in roles:
        words = {token.strip() for token in rows[role.layer, role.neuron, role.polarity]["tokens"]}
        truth = role.promoted if side == "output" else role.fired
        hits += len(words) >= 2 and words <= truth
    return hits / len(roles)


@pytest.mark.parametrize("side", ["output", "input"])
def test_at_least_95_percent_of_planted_roles_are_recovered(labels: Frames, roles: list, side: str) -> None:
    assert recovered(labels, roles, side) >= 0.95


@pytest.mark.parametrize("side", ["output", "input"])
def test_a_neuron_that_works_through_another_is_told_apart(labels: Frames, roles: list, side: str) -> None:
    types = labels["output_labels"].group_by("layer").agg(pl.col("type").unique())
    by_layer = {row["layer"]: set(row["type"]) for row in types.iter_rows(named=True)}
    assert by_layer[0] == {"routing"}
    assert "routing" not in by_layer[1]


def shuffled(tables: Frames, seed: int) -> Frames:
    """Every table's neurons renamed at random, each table by its own permutation: evidence no longer belongs together."""
    rng = np.random.default_rng(seed)
    mixed: Frames = {}
    for name, frame in tables.items():
        new = dict(enumerate(rng.permutation(20).tolist()))
        columns = ["source", "target"] if name == "edge_stats" else ["neuron"]
        if name in ("neuron_profiles", "der_scores"):
            mixed[name] = frame
        else:
            mixed[name] = frame.with_columns(pl.col(c).replace_strict(new).cast(frame.schema[c]) for c in columns)
    return mixed


@pytest.mark.parametrize("side", ["output", "input"])
def test_shuffled_evidence_recovers_roles_at_chance(world: Frames, roles: list, side: str) -> None:
    """There are 5 groups, so a label that knows nothing of its neuron names the right one once in 5 (and polarity may differ)."""
    shares = []
    for seed in range(3):
        made = run(shuffled(world, seed))
        rows = {tuple(row[k] for k in KEY) for row in made[f"{side}_labels"].iter_rows(named=True) if row["label"]}
        shares.append(recovered(made, [r for r in roles if (r.layer, r.neuron, r.polarity) in rows], side))
    assert np.mean(shares) < 0.35


def test_labels_read_well(labels: Frames) -> None:
    found = set(labels["output_labels"].filter(pl.col("layer") == 1)["label"])
    starts = {label.split(":")[0] for label in found}
    assert starts == {
        "promotes city-related words",
        "promotes drug-related words",
        "promotes number words",
        "promotes words ending in -ing",
        "promotes plural nouns",
    }
    inputs = {label.split(":")[0] for label in labels["input_labels"]["label"]}
    assert {"fires on number words", "fires on plural nouns", "fires on city-related words"} <= inputs


def test_every_label_has_two_to_eight_words_and_a_sentence(labels: Frames) -> None:
    for frame in labels.values():
        words = frame["label"].drop_nulls().str.split(" ").list.len()
        assert words.is_between(2, 8).all()
        assert frame["description"].drop_nulls().str.ends_with(".").all()


def test_the_same_evidence_gives_the_same_rows(world: Frames, labels: Frames) -> None:
    again = run({name: frame.sample(fraction=1.0, shuffle=True, seed=3) for name, frame in world.items()})
    for name, frame in labels.items():
        assert frame.equals(again[name])
