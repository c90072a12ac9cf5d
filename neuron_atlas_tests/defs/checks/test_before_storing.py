"""Every check passes on sound tables and is seen failing on damaged ones."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg
import polars as pl
import pytest

from neuron_atlas.core import tables as t
from neuron_atlas.core.labeling.evidence.label_rows import label_ref
from neuron_atlas.core.labeling.evidence.label_rows import rows_of as label_rows
from neuron_atlas.core.records import Frames
from neuron_atlas.core.tables import tables_of
from neuron_atlas.defs.asset_registry import ASSET_REGISTRY
from neuron_atlas.defs.checks.before_storing import CHECKS, checks_of
from neuron_atlas.defs.checks.stored import labels_are_current

Rows = Callable[..., pl.DataFrame]


def ask(asset: str, check: str, frames: Frames, **inputs: pl.DataFrame) -> dg.AssetCheckResult:
    found = {c.name: c for c in CHECKS[asset]}[check]
    return found.result(asset, frames, {name: frame.lazy() for name, frame in inputs.items()})


@pytest.fixture
def graphs(rows_of: Rows) -> Frames:
    """Two prompts: one traced, an embedding (node 0) feeding a neuron (1) that feeds the logit (2); one set aside."""
    return {
        "graphs": rows_of(
            t.GRAPHS,
            {"prompt_id": "a", "conservation_error": 2e-6},
            {"prompt_id": "b", "reason": "empty prompt"},
        ),
        "targets": rows_of(t.TARGETS, {"prompt_id": "a", "node": 2}),
        "nodes": rows_of(t.NODES, *({"prompt_id": "a", "node": node} for node in range(3))),
        "edges": rows_of(
            t.EDGES, {"prompt_id": "a", "source": 0, "target": 1}, {"prompt_id": "a", "source": 1, "target": 2}
        ),
    }


def test_every_asset_with_tables_has_checks_and_a_blocking_one():
    assert set(CHECKS) == {name for name, asset in ASSET_REGISTRY.items() if asset.store != "published"}
    for asset, checks in CHECKS.items():
        assert any(check.is_blocking for check in checks), asset
        assert [spec.name for spec in checks_of(asset)] == [check.name for check in checks]


def test_sound_graphs_pass(graphs: Frames):
    for check in ("graphs_conserve", "graphs_refer", "graphs_traced"):
        assert ask("raw_graphs", check, graphs).passed


@pytest.mark.parametrize("error", [2e-4, float("nan"), float("inf")])
def test_a_graph_that_does_not_conserve_is_refused(graphs: Frames, error: float):
    damaged = pl.when(pl.col("prompt_id") == "a").then(pl.lit(error, pl.Float32)).alias("conservation_error")
    graphs["graphs"] = graphs["graphs"].with_columns(damaged)
    result = ask("raw_graphs", "graphs_conserve", graphs)
    assert not result.passed
    assert result.severity == dg.AssetCheckSeverity.ERROR
    assert "'a'" in str(result.description)


@pytest.mark.parametrize("table", ["edges", "targets"])
def test_graph_rows_that_reference_missing_nodes_are_refused(graphs: Frames, table: str):
    column = "source" if table == "edges" else "node"
    graphs[table] = graphs[table].with_columns(pl.lit(77, pl.Int32).alias(column))
    assert not ask("raw_graphs", "graphs_refer", graphs).passed


def test_nodes_of_an_unknown_prompt_are_refused(graphs: Frames):
    graphs["graphs"] = graphs["graphs"].filter(pl.col("prompt_id") == "b")
    assert not ask("raw_graphs", "graphs_refer", graphs).passed


def test_a_set_of_which_nothing_was_traced_is_refused_with_the_commonest_reason(graphs: Frames):
    graphs["graphs"] = graphs["graphs"].filter(pl.col("reason").is_not_null())
    result = ask("raw_graphs", "graphs_traced", graphs)
    assert not result.passed
    assert "empty prompt" in str(result.description)


def test_many_quarantined_prompts_are_reported_but_do_not_block(graphs: Frames):
    result = ask("raw_graphs", "few_quarantined", graphs)  # 1 of 2
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)
    graphs["graphs"] = graphs["graphs"].filter(pl.col("reason").is_null())
    assert ask("raw_graphs", "few_quarantined", graphs).passed


@pytest.mark.parametrize("asset", [asset for asset, checks in CHECKS.items() if checks[0].name == "not_empty"])
def test_empty_tables_are_refused(asset: str, rows_of: Rows):
    full = {table.name: rows_of(table, {}) for table in tables_of(asset)}
    assert ask(asset, "not_empty", full).passed
    empty = {table.name: table.empty() for table in tables_of(asset)}
    assert not ask(asset, "not_empty", empty).passed


@pytest.mark.parametrize(
    ("asset", "table", "column"),
    [
        ("edge_stats", t.EDGE_STATS, "frequency"),
        ("activation_stats", t.ACTIVATION_STATS, "density_positive"),
        ("der_scores", t.DER_SCORES, "der"),
    ],
)
def test_shares_outside_zero_to_one_are_refused(asset: str, table: t.Table, column: str, rows_of: Rows):
    for value, is_fine in [(0.0, True), (1.0, True), (1.2, False), (-0.1, False)]:
        frames = {x.name: x.empty() for x in tables_of(asset)} | {table.name: rows_of(table, {column: value})}
        assert ask(asset, "in_range", frames).passed is is_fine, value


def test_sums_that_miss_an_edge_an_instance_or_a_prompt_are_refused(graphs: Frames, rows_of: Rows):
    nodes = graphs["nodes"].with_columns(kind=pl.Series(["embedding", "neuron", "logit"]))
    raw = {"graphs": graphs["graphs"], "nodes": nodes, "edges": graphs["edges"]}
    sums = {
        "edge_sums": rows_of(t.EDGE_SUMS, {"n": 1, "source": 1}, {"n": 1, "source": 2}),
        "neuron_sums": rows_of(t.NEURON_SUMS, {"n": 1}),
        "set_sums": rows_of(t.SET_SUMS, {"n_prompts": 1}),
    }
    assert ask("graph_stats", "counts_all", sums, **raw).passed
    for table in sums:
        column = "n_prompts" if table == "set_sums" else "n"
        damaged = sums | {table: sums[table].with_columns(pl.lit(7, pl.Int64).alias(column))}
        assert not ask("graph_stats", "counts_all", damaged, **raw).passed, table


def test_statistics_that_lost_something_in_merging_are_refused(rows_of: Rows):
    prompts = rows_of(t.NEURON_PROMPTS, {"prompt_id": "a"}, {"prompt_id": "b"})
    sums = {
        "edge_sums": rows_of(t.EDGE_SUMS, {"n": 2}, {"n": 3, "source": 1}),
        "neuron_sums": rows_of(t.NEURON_SUMS, {"n": 4}),
        "neuron_prompts": prompts,
    }
    stats = {
        "edge_stats": rows_of(t.EDGE_STATS, {"n": 5}),
        "neuron_profiles": rows_of(t.NEURON_PROFILES, {"n": 4}),
        "neuron_prompts": prompts,
    }
    assert ask("edge_stats", "merges_all", stats, **sums).passed
    for table in ("edge_stats", "neuron_profiles"):
        damaged = stats | {table: stats[table].with_columns(pl.lit(7, pl.Int64).alias("n"))}
        result = ask("edge_stats", "merges_all", damaged, **sums)
        assert not result.passed, table
        assert "7" in str(result.description)
    assert not ask("edge_stats", "merges_all", stats | {"neuron_prompts": prompts[:1]}, **sums).passed


@pytest.mark.parametrize("side", ["output", "input"])
def test_a_label_for_a_neuron_that_does_not_exist_is_refused(side: str, rows_of: Rows):
    table = {"output": t.OUTPUT_LABELS, "input": t.INPUT_LABELS}[side]
    known = {"output": t.OUTPUT_PROJECTIONS, "input": t.INPUT_PROJECTIONS}[side]
    labels = {table.name: rows_of(table, {"layer": 1, "neuron": 5})}
    right, wrong = rows_of(known, {"layer": 1, "neuron": 5}), rows_of(known, {"layer": 1, "neuron": 6})
    assert ask(table.name, "neurons_exist", labels, **{known.name: right}).passed
    assert not ask(table.name, "neurons_exist", labels, **{known.name: wrong}).passed


def test_few_labels_are_reported_but_do_not_block(rows_of: Rows):
    rows = [{"neuron": n, "label": "plural verbs" if n == 0 else None} for n in range(3)]
    result = ask("output_labels", "mostly_labeled", {"output_labels": rows_of(t.OUTPUT_LABELS, *rows)})
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)
    result = ask("output_labels", "mostly_labeled", {"output_labels": rows_of(t.OUTPUT_LABELS, *rows[:2])})
    assert result.passed


def test_labels_made_with_changed_labels_are_named_with_what_to_rerun(rows_of: Rows):
    """L00/N1 has read the label of L01/N1; then that one is worded anew."""
    key = {"neuron": 1, "polarity": 1, "labeler": "rules", "version": "rules/1", "type": "semantic", "direction": 1}
    late = {**key, "layer": 1, "label": "promotes rivers"}
    (read,) = [label_ref(row) for row in label_rows(rows_of(t.OUTPUT_LABELS, late))]
    early = {**key, "layer": 0, "label": "drives rivers", "neighbours": [read]}
    ask_stored = labels_are_current()

    def outcome(now: str) -> dg.AssetCheckResult:
        outputs = rows_of(t.OUTPUT_LABELS, {**late, "label": now}, early)
        tables = {"output_labels": {"output_labels": outputs.lazy()}, "input_labels": {}}
        result = ask_stored(**tables)
        assert isinstance(result, dg.AssetCheckResult)
        return result

    assert outcome("promotes rivers").passed
    found = outcome("promotes lakes")
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert (
        found.description
        == "1 labels were made with neighbour labels that have changed since; rerun output_labels for L00"
    )


def test_a_score_without_its_label_is_refused(rows_of: Rows):
    scores = {"label_scores": rows_of(t.LABEL_SCORES, {"neuron": 1, "side": "input"})}
    there, away = rows_of(t.INPUT_LABELS, {"neuron": 1}), rows_of(t.INPUT_LABELS, {"neuron": 2})
    outputs = t.OUTPUT_LABELS.empty()
    assert ask("label_scores", "labels_exist", scores, input_labels=there, output_labels=outputs).passed
    assert not ask("label_scores", "labels_exist", scores, input_labels=away, output_labels=outputs).passed


def test_members_and_parents_must_be_clusters(rows_of: Rows):
    clusters = rows_of(t.CLUSTERS, {"path": "3"}, {"path": "3.1"})
    members = rows_of(t.CLUSTER_MEMBERS, {"neuron": 1, "path": "3.1"}, {"neuron": 2})
    sound = {"clusters": clusters, "cluster_members": members}
    assert ask("clusters", "paths_exist", sound).passed
    orphan = {**sound, "clusters": clusters.filter(pl.col("path") == "3.1")}
    assert not ask("clusters", "paths_exist", orphan).passed
    stray = {**sound, "clusters": clusters.filter(pl.col("path") == "3")}
    assert not ask("clusters", "paths_exist", stray).passed


def test_a_cluster_label_must_name_a_cluster(rows_of: Rows):
    labels = {"cluster_labels": rows_of(t.CLUSTER_LABELS, {"path": "4"})}
    assert ask("cluster_labels", "paths_exist", labels, clusters=rows_of(t.CLUSTERS, {"path": "4"})).passed
    assert not ask("cluster_labels", "paths_exist", labels, clusters=rows_of(t.CLUSTERS, {"path": "5"})).passed
