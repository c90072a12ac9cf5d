"""What neighbours' labels buy, worked by hand; and coverage and scores in one table."""

from __future__ import annotations

import polars as pl
import pytest

from neuron_atlas.core.labeling.evidence.evidence_record import (
    Neighbour,
    OutputEvidence,
    SeenLabel,
    TokenList,
    TokenWeight,
)
from neuron_atlas.core.labeling.evidence.labeler_answer import LEFT_OUT, UNANSWERED
from neuron_atlas.core.labeling.label_layer import label_layer
from neuron_atlas.core.labeling.labelers.rules import RulesLabeler
from neuron_atlas.core.labeling.scoring.coverage_report import coverage, scored
from neuron_atlas.core.labeling.scoring.neighbour_benefit import (
    ALONE,
    WithoutNeighbourLabels,
    compare_with_alone,
    without_neighbour_labels,
)
from neuron_atlas.core.records import Frames

TOKENS = TokenList(tokens=(TokenWeight(token_id=1, text="Oslo", weight=1.0),))


def test_every_trace_of_a_neighbours_label_goes_and_the_connections_stay() -> None:
    seen = SeenLabel(side="output", text="promotes cities", tokens=TOKENS.tokens, ref="L1/N7+@abc")
    one = OutputEvidence(
        layer=0, neuron=1, polarity=1, promotes=TOKENS, routed=TOKENS,
        downstream=(Neighbour(name="L1/N7+", weight=0.5, frequency=1.0, labels=(seen,)),),
    )  # fmt: skip
    bare = without_neighbour_labels(one)
    assert isinstance(bare, OutputEvidence)
    assert (bare.routed, bare.downstream[0].labels) == (TokenList(), ())
    assert (bare.promotes, bare.downstream[0].weight) == (one.promotes, 0.5)


def test_a_neuron_that_works_through_another_needs_its_label(world: Frames) -> None:
    """Layer 0 of the small world has no output projection of its own: alone, the rules find nothing to say of it."""
    evidence = {name: frame.lazy() for name, frame in world.items()}
    late = label_layer("output", 1, evidence=evidence, labels={}, labeler=RulesLabeler(), model_revision="r")
    made = [
        label_layer(
            "output", 0, evidence=evidence, labels={"output_labels": late["output_labels"].lazy()}, labeler=who, model_revision="r"
        )["output_labels"]
        for who in (RulesLabeler(), WithoutNeighbourLabels(RulesLabeler()))
    ]  # fmt: skip
    assert [frame["label"].count() for frame in made] == [20, 0]


def labels(**by_labeler: list[str | None]) -> pl.LazyFrame:
    rows = [
        {"layer": 0, "neuron": n, "polarity": 1, "labeler": who.replace("_", " "), "label": text,
         "unlabeled_reason": None if text else "weak"}
        for who, texts in by_labeler.items() for n, text in enumerate(texts)
    ]  # fmt: skip
    return pl.LazyFrame(rows)


def scores(**by_labeler: list[float | None]) -> pl.LazyFrame:
    rows = [
        {"layer": 0, "neuron": n, "polarity": 1, "labeler": who.replace("_", " "), "side": "output", "metric": "intervention",
         "score": 0.9, "null_score": 0.5, "corrected": value, "ci_low": 0.6 if value and value > 0.5 else 0.4}
        for who, values in by_labeler.items() for n, value in enumerate(values) if value is not None
    ]  # fmt: skip
    return pl.LazyFrame(rows)


def test_paired_differences_by_hand() -> None:
    """Neurons 0 and 1 are scored both ways (0.8 - 0.6, 0.5 - 0.3: gain 0.2), neuron 2 has a label only with neighbours."""
    assert ALONE == " alone"
    table = compare_with_alone(
        {"output_labels": labels(rules=["a", "b", "c"], rules_alone=["a", "x", None])},
        scores(rules=[0.8, 0.5, 0.9], rules_alone=[0.6, 0.3, None]),
    )
    (row,) = table.iter_rows(named=True)
    assert (row["neurons"], row["labeled"], row["labeled_alone"], row["n_both"], row["n_only_with"]) == (3, 3, 2, 2, 1)
    assert row["changed"] == pytest.approx(2 / 3)
    assert (row["corrected"], row["corrected_alone"], row["gain"], row["only_with"]) == pytest.approx(
        (0.65, 0.45, 0.2, 0.9)
    )
    assert row["gain_low"] == pytest.approx(0.2)


def test_coverage_tells_abstentions_from_what_did_not_come() -> None:
    frame = labels(openai=["a", None, None, None]).with_columns(
        unlabeled_reason=pl.Series([None, "weak", f"{UNANSWERED}refused", f"{LEFT_OUT}the budget"])
    )
    found = coverage({"output_labels": frame})
    layer, total = found.iter_rows(named=True)
    assert (layer["layer"], total["layer"]) == (0, None)
    for row in (layer, total):
        assert (row["neurons"], row["labeled"], row["unanswered"], row["left_out"], row["abstained"]) == (
            4,
            1,
            1,
            1,
            0.25,
        )


def test_scores_are_means_with_their_null() -> None:
    found = scored(scores(rules=[0.8, 0.4]))
    assert found["corrected"].to_list() == pytest.approx([0.6, 0.6])
    assert found["above_null"].to_list() == [0.5, 0.5]
    assert found["null"].to_list() == [0.5, 0.5]
