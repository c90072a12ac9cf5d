"""Stability: overlaps by hand, redrawn links, and noise that must not look like structure."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from neuron_atlas.core.circuits.clustering.clusters import find_clusters
from neuron_atlas.core.circuits.clustering.flow_graph import neuron_edges
from neuron_atlas.core.circuits.clustering.stability import best_overlaps, memberships, redraw_links, stability


def _modules(paths: list[list[int]]) -> pl.DataFrame:
    return pl.DataFrame(
        {"layer": [0] * len(paths), "neuron": range(len(paths)), "path": paths, "flow": [1 / len(paths)] * len(paths)},
        schema={"layer": pl.Int16, "neuron": pl.Int32, "path": pl.List(pl.Int32), "flow": pl.Float64},
    )


def test_memberships_hold_every_level():
    rows = memberships(_modules([[1, 2], [1], []])).sort("neuron", "level").rows()
    assert rows == [(0, 0, "1", 1), (0, 0, "1.2", 2), (0, 1, "1", 1)]


def test_best_overlap_by_hand():
    # Module 1 = {0, 1, 2}; the other run has {0, 1} (2 shared of 3 in all) and {2, 3} (1 of 4): best 2/3. Module 2 = {3, 4}:
    # {2, 3} shares 1 of 3, {4} is no module there.
    reference = memberships(_modules([[1], [1], [1], [2], [2]]))
    other = memberships(_modules([[1], [1], [2], [2], []]))
    found = dict(best_overlaps(reference, other).iter_rows())
    assert found == {"1": pytest.approx(2 / 3), "2": pytest.approx(1 / 3)}


def test_a_module_that_vanishes_has_overlap_zero():
    found = best_overlaps(memberships(_modules([[1], [1], [], []])), memberships(_modules([[], [], [1], [1]])))
    assert found.rows() == [("1", 0.0)]


def test_stability_is_the_mean_over_runs():
    reference = memberships(_modules([[1], [1], [2], [2]]))
    other = memberships(_modules([[1], [1], [1], [1]]))  # overlap 2/4 for both
    overlaps = [best_overlaps(reference, run) for run in (reference, other)]
    assert dict(stability(reference, overlaps).iter_rows()) == {"1": 0.75, "2": 0.75}
    assert stability(reference, [])["stability"].to_list() == [None, None]


def test_overlap_among_the_neurons_a_draw_shows():
    # Of module 1 = {0, 1, 2} the draw shows 0 and 1, which stay together; module 2 = {3, 4} it does not show at all.
    reference = memberships(_modules([[1], [1], [1], [2], [2]]))
    drawn = memberships(_modules([[1], [1], [], [], []]))
    among = pl.DataFrame({"layer": [0, 0], "neuron": [0, 1]}, schema={"layer": pl.Int16, "neuron": pl.Int32})
    assert dict(best_overlaps(reference, drawn).iter_rows()) == {"1": pytest.approx(2 / 3), "2": 0.0}
    assert dict(best_overlaps(reference, drawn, among=among).iter_rows()) == {"1": 1.0, "2": 0.0}


def test_redrawing_keeps_rows_and_moves_by_the_standard_error(wired):
    edges = neuron_edges(wired([("L0/N0", "L1/N0", 2.0, 400), ("L0/N1", "L1/N0", -2.0, 400)]))
    edges = edges.with_columns(weight_std=pl.Series([1.0, 0.0]))
    drawn = [redraw_links(edges, rng=np.random.default_rng(i)) for i in range(200)]
    means = np.array([d["weight_mean"].to_list() for d in drawn])
    counts = np.array([d["n"].to_list() for d in drawn])
    assert means[:, 0].std() == pytest.approx(1 / 20, rel=0.25)  # 1 / sqrt(400)
    assert means[:, 1].std() < 1 / 200  # no spread of its own in 400 instances, hardly anything to redraw
    assert counts.std() == pytest.approx(20, rel=0.2)  # Poisson: sqrt(400)
    for one in drawn:
        assert_frame_equal(
            one.select("source_layer", "source", "target"), edges.select("source_layer", "source", "target")
        )
        assert one["weight_abs_mean"].min() >= 0


def test_one_instance_says_nothing_about_spread_so_it_borrows(wired):
    edges = neuron_edges(wired([*((f"L0/N{i}", "L1/N0", 2.0, 100) for i in range(5)), ("L0/N9", "L1/N0", 2.0, 1)]))
    edges = edges.with_columns(weight_std=pl.when(pl.col("source") == 9).then(0.0).otherwise(1.0))
    drawn = np.array([redraw_links(edges, rng=np.random.default_rng(i))["weight_mean"].to_list() for i in range(300)])
    # Typical relative variance 1/4, so the lone instance has (1 * 0 + 2 * 1/4 * 4) / 3 = 2/3.
    assert drawn[:, 5].std() == pytest.approx((2 / 3) ** 0.5, rel=0.2)


def test_redrawing_depends_on_the_seed_alone(wired, two_cliques):
    edges = neuron_edges(wired(two_cliques))
    one, two, three = (redraw_links(edges, rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert_frame_equal(one, two)
    assert not one.equals(three)


def test_planted_modules_are_stable_and_noise_is_not(wired, two_cliques):
    assert find_clusters(wired(two_cliques))["clusters"]["is_stable"].to_list() == [True, True]
    rng = np.random.default_rng(0)
    # 60 neurons, 120 wires at random, each seen in two prompts only: whatever modules there are, they are accidents.
    noise = {(f"L0/N{a}", f"L1/N{b}"): float(rng.random()) for a, b in rng.integers(0, 30, (120, 2))}
    stats = wired([(a, b, w, 2) for (a, b), w in noise.items()])["edge_stats"].with_columns(
        weight_std="weight_abs_mean"
    )
    found = find_clusters({"edge_stats": stats})["clusters"]
    assert found.height > 1
    assert found["stability"].mean() < 0.7
