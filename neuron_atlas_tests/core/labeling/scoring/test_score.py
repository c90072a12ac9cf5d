"""Scores on held-out texts and by intervention: right labels score high, wrong ones do not, chance is 0."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
import pytest

from neuron_atlas.core.labeling.scoring.activation_simulator import flatten, simulate
from neuron_atlas.core.labeling.scoring.calibration import calibration
from neuron_atlas.core.labeling.scoring.score import correct, interpretability, score_layer
from neuron_atlas.core.labeling.scoring.score_input import HeldOut, detection, fuzzing, simulation
from neuron_atlas.core.labeling.scoring.score_output import Claim, intervene
from neuron_atlas.core.records import Frames
from neuron_atlas.core.tables import LABEL_SCORES

MakeTable = Callable[[str, Sequence[dict[str, object]]], pl.DataFrame]

# a neuron that fires on token 7: two texts fire it, two do not
IDS = [[1, 7, 2], [7, 3, 1], [1, 2, 3], [3, 2, 1]]
ACTIVATIONS = [[0.1, 4.0, 0.1], [3.0, 0.2, 0.1], [0.2, 0.1, 0.1], [0.1, 0.3, 0.1]]
KINDS = ["top", "top", "random", "hard_negative"]


@pytest.fixture
def held() -> HeldOut:
    found = HeldOut.of(flatten(IDS, ACTIVATIONS, KINDS, 1))
    assert found is not None
    return found


def test_the_right_token_tells_everything(held: HeldOut) -> None:
    rng = np.random.default_rng(0)
    right = simulate(held.texts, [7], "token-pattern")
    assert held.fires.tolist() == [1, 1, 0, 0]
    assert (detection(held, right, rng).value, detection(held, right, rng).low) == (1.0, 1.0)
    assert fuzzing(held, right).value == 1.0
    assert simulation(held, right, rng).value > 0.9


def test_a_token_of_all_texts_tells_nothing(held: HeldOut) -> None:
    common = simulate(held.texts, [1], "token-pattern")
    assert detection(held, common, None).value == 0.5  # the share of firing texts
    # in "1 7 2" the fired token 7 loses against 1 and ties with 2: (0 + 1/2) / 2; in "7 3 1": it ties with 3, loses to 1
    assert fuzzing(held, common).value == 0.25
    assert simulation(held, common, None).value < 0


def test_too_little_held_out_is_not_scored() -> None:
    assert HeldOut.of(flatten(IDS[:1] + IDS[2:], ACTIVATIONS[:1] + ACTIVATIONS[2:], KINDS[:1] + KINDS[2:], 1)) is None
    assert HeldOut.of(flatten(IDS[:2], ACTIVATIONS[:2], KINDS[:2], 1)) is None


def test_many_quiet_texts_do_not_lower_what_counts_as_firing() -> None:
    """Half of the median peak of the top texts (1.75), however many others peak at 1."""
    found = HeldOut.of(flatten([*IDS, *[[5]] * 6], [*ACTIVATIONS, *[[1.0]] * 6], [*KINDS, *["random"] * 6], 1))
    assert found is not None
    assert found.fires.tolist() == [1, 1] + [0] * 8


def test_a_random_text_that_fires_counts_as_firing() -> None:
    found = HeldOut.of(flatten([*IDS, [7, 1]], [*ACTIVATIONS, [3.5, 0.0]], [*KINDS, "random"], 1))
    assert found is not None
    assert found.fires.tolist() == [1, 1, 0, 0, 1]


@pytest.mark.parametrize(
    ("score", "null", "low", "expected"),
    [
        (0.9, 0.5, 0.7, "high"),
        (0.7, 0.5, 0.6, "medium"),
        (0.6, 0.5, 0.55, "low"),
        (0.9, 0.5, 0.4, "low"),
        (1, 1, 1, "low"),
    ],
)
def test_interpretability_comes_from_the_numbers(score: float, null: float, low: float, expected: str) -> None:
    assert interpretability(score, null, low) == expected


def test_correction_by_chance() -> None:
    assert correct(0.75, 0.5) == 0.5
    assert correct(0.5, 0.5) == 0.0
    assert correct(1.0, 1.0) is None


def push_world(n_neurons: int = 12) -> np.ndarray:
    """Neuron n writes +1 to tokens 2n + 1 and 2n + 2, and a little to all others."""
    writes = np.full((n_neurons, 2 * n_neurons + 1), 0.01, np.float32)
    for n in range(n_neurons):
        writes[n, 2 * n + 1 : 2 * n + 3] = 1.0
    return writes


def test_true_claims_pass_every_line_up(push_model: Callable[..., object]) -> None:
    model = push_model(push_world())
    claims = [Claim(n, 1, (2 * n + 1, 2 * n + 2), 1) for n in range(12)]
    tried = intervene(model, 0, claims, [[0, 1, 2], [0, 3]], length=1.0, seed=0)
    assert [one.score for one in tried] == [1.0] * 12
    # another neuron's tokens: its owner is drawn in 9 of 11 trials and wins; else ten bystanders tie: 2/11 * 1/10 = 0.018
    assert np.mean([one.null for one in tried]) == pytest.approx(0.018, abs=0.01)
    assert all(one.n == 8 for one in tried)


def test_false_claims_do_not(push_model: Callable[..., object]) -> None:
    """Each claims its neighbour's tokens; in a trial of ten it can only win when the owner is absent, by the ties then."""
    model = push_model(push_world(40))
    claims = [Claim(n, 1, ((2 * n + 3) % 80 + 1,), 1) for n in range(40)]
    tried = intervene(model, 0, claims, [[0, 1]] * 6, length=1.0, seed=0)
    assert np.mean([one.score for one in tried]) == pytest.approx(0.1, abs=0.03)  # one of ten equal bystanders


def test_polarity_and_direction_turn_the_claim(push_model: Callable[..., object]) -> None:
    model = push_model(push_world())
    truths = [Claim(n, -1, (2 * n + 1,), -1) for n in range(12)]  # firing negative lowers its tokens
    lies = [Claim(n, -1, (2 * n + 1,), 1) for n in range(12)]
    assert {one.score for one in intervene(model, 0, truths, [[0, 1]], length=1.0, seed=0)} == {1.0}
    assert {one.score for one in intervene(model, 0, lies, [[0, 1]], length=1.0, seed=0)} == {0.0}


def test_few_claims_stand_among_other_neurons_of_the_layer(push_model: Callable[..., object]) -> None:
    model = push_model(push_world())
    (one,) = intervene(model, 0, [Claim(3, 1, (7, 8), 1)], [[0, 1]], length=1.0, seed=0)
    assert one.score == 1.0
    assert model.runs == 1 + 12


def label_row(neuron: int, token_ids: list[int], **more: object) -> dict[str, object]:
    return {"layer": 0, "neuron": neuron, "polarity": 1, "labeler": "rules", "label": "fires on it", "type": "token-pattern",
            "confidence": 0.9, "tokens": [f"t{i}" for i in token_ids], "token_ids": token_ids, "direction": 1, **more}  # fmt: skip


def exemplars(neuron: int, token: int) -> list[dict[str, object]]:
    """The four texts above with the firing token replaced, each twice, all held out."""
    rows: list[dict[str, object]] = []
    for rank in range(8):
        ids = [token if i == 7 else i for i in IDS[rank % 4]]
        rows.append(
            {"corpus": "c", "layer": 0, "neuron": neuron, "polarity": 1, "kind": KINDS[rank % 4], "rank": rank,
             "is_held_out": True, "text_id": f"{neuron}-{rank}", "tokens": [f"t{i}" for i in ids], "token_ids": ids,
             "activations": ACTIVATIONS[rank % 4], "peak_position": 0, "peak_activation": 4.0}
        )  # fmt: skip
    return rows


@pytest.fixture
def scored(make_table: MakeTable, push_model: Callable[..., object]) -> pl.DataFrame:
    """Neurons 0-5 with true labels by `rules`, and the same neurons with each other's labels by `import`."""
    rows = [row for n in range(6) for row in exemplars(n, 10 + n)]
    true = [label_row(n, [10 + n]) for n in range(6)]
    false = [label_row(n, [10 + (n + 1) % 6], labeler="import") for n in range(6)]
    outputs = [label_row(n, [2 * n + 1], type="lexical") for n in range(6)]
    return score_layer(
        push_model(push_world()),
        0,
        evidence={"exemplars": make_table("exemplars", rows).lazy()},
        labels={
            "input_labels": make_table("input_labels", true + false).lazy(),
            "output_labels": make_table("output_labels", outputs).lazy(),
        },
    )["label_scores"]


def test_true_labels_score_1_and_false_ones_at_chance(scored: pl.DataFrame) -> None:
    assert LABEL_SCORES.checked(scored).height == 6 * 3 * 2 + 6
    rules = scored.filter((pl.col("labeler") == "rules") & (pl.col("metric") != "simulation"))
    assert rules["corrected"].to_list() == [1.0] * 18
    assert set(rules.filter(pl.col("metric") != "fuzzing")["interpretability"]) == {"high"}
    false = scored.filter((pl.col("labeler") == "import") & (pl.col("metric") == "detection"))
    assert (false["score"] == 0.5).all()
    assert set(scored.filter(pl.col("labeler") == "import")["interpretability"]) == {"low"}


def test_intervals_hold_the_score(scored: pl.DataFrame) -> None:
    assert (scored["ci_low"] <= scored["score"] + 1e-6).all()
    assert (scored["ci_high"] >= scored["score"] - 1e-6).all()


def test_the_same_seed_gives_the_same_scores(scored: pl.DataFrame, make_table: MakeTable) -> None:
    evidence = {"exemplars": make_table("exemplars", [row for n in range(6) for row in exemplars(n, 10 + n)]).lazy()}
    labels = {"input_labels": make_table("input_labels", [label_row(n, [10 + n]) for n in range(6)]).lazy()}
    one, other = (score_layer(None, 0, evidence=evidence, labels=labels, seed=4)["label_scores"] for _ in range(2))
    assert one.equals(other)
    assert set(one["side"]) == {"input"}


def test_texts_that_were_shown_do_not_count(make_table: MakeTable) -> None:
    """The labels' tokens are wrong in every text that is not held out; the scores do not notice."""
    rows = [row for n in range(6) for row in exemplars(n, 10 + n)]
    shown = [{**row, "rank": row["rank"] + 8, "is_held_out": False, "token_ids": [50, 51, 52]} for row in rows]
    labels = {"input_labels": make_table("input_labels", [label_row(n, [10 + n]) for n in range(6)]).lazy()}
    alone, both = (
        score_layer(None, 0, evidence={"exemplars": make_table("exemplars", found).lazy()}, labels=labels)[
            "label_scores"
        ]
        for found in (rows, rows + shown)
    )
    assert alone.equals(both)


def test_the_null_is_another_neurons_label(make_table: MakeTable) -> None:
    """Both polarities of one neuron: there is no other neuron to take a label from, so nothing to compare with."""
    rows = [{**row, "polarity": p} for row in exemplars(0, 10) for p in (1, -1)]
    labels = {"input_labels": make_table("input_labels", [label_row(0, [10], polarity=p) for p in (1, -1)]).lazy()}
    evidence = {"exemplars": make_table("exemplars", rows).lazy()}
    assert score_layer(None, 0, evidence=evidence, labels=labels)["label_scores"].is_empty()


def test_what_cannot_be_measured_has_no_row(make_table: MakeTable) -> None:
    labels = {"input_labels": make_table("input_labels", [label_row(0, []), label_row(1, [11], label=None)]).lazy()}
    assert score_layer(None, 0, evidence={}, labels=labels)["label_scores"].is_empty()


def test_the_budget_caps_the_runs(make_table: MakeTable, push_model: Callable[..., object]) -> None:
    model = push_model(push_world(40))
    evidence = {"exemplars": make_table("exemplars", [row for n in range(6) for row in exemplars(n, 10 + n)]).lazy()}
    labels = {
        "output_labels": make_table(
            "output_labels", [label_row(n, [2 * n + 1], type="lexical") for n in range(40)]
        ).lazy()
    }
    found = score_layer(model, 0, evidence=evidence, labels=labels, budget=60)["label_scores"]
    assert found.height == 30  # 60 runs on the fewest texts, 2
    assert model.runs == 2 * (30 + 1)


def test_how_far_a_projection_may_be_believed_is_stored_beside_the_label(make_table: MakeTable) -> None:
    agreement = pl.DataFrame(
        {"layer": [0, 0], "neuron": [1, 2], "side": "input", "rank_correlation": [0.4, None], "n_tokens": 50}
    )
    labels = {"input_labels": make_table("input_labels", [label_row(n, [10]) for n in (1, 2)]).lazy()}
    found = score_layer(None, 0, evidence={"projection_agreement": agreement.lazy()}, labels=labels)["label_scores"]
    (row,) = found.iter_rows(named=True)
    assert (row["neuron"], row["metric"], row["n"], row["null_score"]) == (1, "projection_rank", 50, None)
    assert row["score"] == pytest.approx(0.4)


def test_confidence_is_compared_with_the_measured_score(scored: pl.DataFrame, make_table: MakeTable) -> None:
    labels: Frames = {
        "input_labels": make_table("input_labels", [label_row(n, [10 + n], confidence=0.9) for n in range(6)])
    }
    found = calibration({name: frame.lazy() for name, frame in labels.items()}, scored.lazy())
    (row,) = found.filter(pl.col("metric") == "detection").iter_rows(named=True)
    assert (row["labeler"], row["side"], row["bin"], row["n"], row["corrected"]) == ("rules", "input", 4, 6, 1.0)
    assert row["gap"] == pytest.approx(-0.1)
