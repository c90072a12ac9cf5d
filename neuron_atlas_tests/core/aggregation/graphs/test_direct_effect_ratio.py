"""How direct a neuron's effect is: from graphs exactly, and by ablating a model one can follow by eye."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from neuron_atlas.core.aggregation.graphs.direct_effect_ratio import der_scores, measure_direct_effects
from neuron_atlas.core.aggregation.graphs.graph_stats import sum_graphs
from neuron_atlas.errors import BadInput

Raw = Callable[..., dict[str, pl.LazyFrame]]
CAT, DOG, MEOW = 1, 2, 4


def test_the_ratio_from_graphs(make_raw: Raw, graph: Any) -> None:
    """L0/N0: three instances with (R, direct) = (1, 1/4), (-1, -3/4) negative, (1, 2).

    Ratios 1/4, 3/4 and 2 / (2 + |1 - 2|) = 2/3; mean 5/9. Pooled: (1/4 + 3/4 + 2) / (3 + 3/4 + 1/4 + 1) = 3/5.
    Signed: (1/4 - 3/4 + 2) / (1 - 1 + 1) = 3/2: the paths oppose each other.
    """
    neurons = [(0, 0, 0, 1.0, 1.0, 0.25), (0, 1, 0, -1.0, -1.0, -0.75), (0, 2, 0, 1.0, 1.0, 2.0)]
    sums = sum_graphs(
        make_raw([graph("a" * 16, [5, 6, 7], neurons)]), prompt_set="tiny", kind="domain", special_ids=frozenset()
    )
    (row,) = der_scores({"neuron_sums": sums["neuron_sums"].lazy()}, None)["der_scores"].iter_rows(named=True)
    assert (row["n"], row["effect_type"], row["n_interventions"], row["der_intervention"]) == (3, "mixed", 0, None)
    assert row["der"] == pytest.approx(5 / 9)
    squares = (1 / 16 + 9 / 16 + 4 / 9) / 3
    assert row["der_std"] == pytest.approx(math.sqrt(squares - 25 / 81), abs=1e-6)
    assert (row["der_min"], row["der_max"]) == (0.25, 0.75)
    assert row["der_pooled"] == pytest.approx(3 / 5)
    assert row["der_signed"] == pytest.approx(3 / 2)


@pytest.mark.parametrize(("direct", "kind"), [(1.0, "logit"), (0.5, "mixed"), (0.1, "routing")])
def test_effect_types(make_raw: Raw, graph: Any, direct: float, kind: str) -> None:
    raw = make_raw([graph("a" * 16, [5], [(0, 0, 0, 1.0, 1.0, direct)])])
    sums = sum_graphs(raw, prompt_set="tiny", kind="domain", special_ids=frozenset())
    assert der_scores({"neuron_sums": sums["neuron_sums"].lazy()})["der_scores"]["effect_type"].to_list() == [kind]


@pytest.fixture
def cat_and_dog(make_raw: Raw, graph: Any) -> dict[str, pl.LazyFrame]:
    """The tiny model on "cat" (L0/N0 -> L1/N0 -> meow) and on "dog" (L0/N1 -> meow); all activations as the model has them."""
    return make_raw(
        [
            graph("a" * 16, [0, CAT], [(0, 1, 0, 2.0, 0.5, 0.0), (1, 1, 0, 4.0, 0.5, 0.5)], [(MEOW, 0.5, 1.0)]),
            graph("b" * 16, [0, DOG], [(0, 1, 1, -1.0, 0.25, 0.25)], [(MEOW, 0.25, 1.0)]),
        ]
    )


def test_ablation_finds_the_router_and_the_writers(tiny_model: Any, cat_and_dog: dict[str, pl.LazyFrame]) -> None:
    """Without L0/N0 a cat makes no sound at all (total 1/2) though it writes nothing into meow itself (direct 0). L1/N0 writes
    4 * 1/4 at the final norm's 1/2: total and direct 1/2. L0/N1 on dog: -1 * -1/2 * 1/2 = 1/4, all direct."""
    rows = measure_direct_effects(tiny_model, cat_and_dog, n_neurons=9, n_prompts=9)
    assert rows.rows() == [
        (0, 0, "a" * 16, 0.5, 0.0, 0.0),
        (0, 1, "b" * 16, 0.25, 0.25, 1.0),
        (1, 0, "a" * 16, 0.5, 0.5, 1.0),
    ]


def test_measured_ratios_stand_beside_those_of_the_graphs(
    tiny_model: Any, cat_and_dog: dict[str, pl.LazyFrame]
) -> None:
    rows = measure_direct_effects(tiny_model, cat_and_dog, n_neurons=9, n_prompts=9)
    sums = sum_graphs(cat_and_dog, prompt_set="tiny", kind="domain", special_ids=frozenset({0}))
    scores = der_scores({"neuron_sums": sums["neuron_sums"].lazy()}, rows)["der_scores"]
    assert scores.select("layer", "neuron", "der", "der_intervention", "n_interventions", "effect_type").rows() == [
        (0, 0, 0.0, 0.0, 1, "routing"),
        (0, 1, 1.0, 1.0, 1, "logit"),
        (1, 0, 1.0, 1.0, 1, "logit"),
    ]


def test_a_contrast_counts_its_negative_logit_the_other_way(tiny_model: Any, make_raw: Raw, graph: Any) -> None:
    raw = make_raw([graph("a" * 16, [0, CAT], [(1, 1, 0, 4.0, 0.5, 0.5)], [(CAT, 0.5, 1.0), (MEOW, 0.5, -1.0)])])
    (row,) = measure_direct_effects(tiny_model, raw).iter_rows(named=True)
    assert (row["total"], row["direct"]) == (-0.5, -0.5)


def test_the_budget_takes_the_most_relevant_first_and_repeats_by_seed(
    tiny_model: Any, make_raw: Raw, graph: Any
) -> None:
    goal, last = [(MEOW, 0.5, 1.0)], (1, 1, 0, 4.0, 0.1, 0.1)
    raw = make_raw([graph(f"{i:016x}", [0, CAT], [(0, 1, 0, 2.0, float(i), 0.0), last], goal) for i in range(8)])
    one = measure_direct_effects(tiny_model, raw, n_neurons=1, n_prompts=1)
    assert one.select("layer", "neuron", "prompt_id").rows() == [(0, 0, f"{7:016x}")]
    some = measure_direct_effects(tiny_model, raw, n_neurons=2, n_prompts=4, seed=3)
    assert some.group_by("layer").len()["len"].to_list() == [4, 4]
    assert {f"{i:016x}" for i in (6, 7)} <= set(some.filter(pl.col("layer") == 0)["prompt_id"])
    assert some.equals(measure_direct_effects(tiny_model, raw, n_neurons=2, n_prompts=4, seed=3))


def test_no_graphs_no_ablations(tiny_model: Any, make_raw: Raw) -> None:
    assert measure_direct_effects(tiny_model, make_raw([])).height == 0
    with pytest.raises(BadInput, match="at least 1 neuron"):
        measure_direct_effects(tiny_model, make_raw([]), n_neurons=0)


def test_a_prompt_of_two_sets_is_ablated_once(tiny_model: Any, cat_and_dog: dict[str, pl.LazyFrame]) -> None:
    twice = {name: pl.concat([frame, frame]) for name, frame in cat_and_dog.items()}
    once = measure_direct_effects(tiny_model, cat_and_dog, n_neurons=9, n_prompts=9)
    assert measure_direct_effects(tiny_model, twice, n_neurons=9, n_prompts=9).equals(once)
