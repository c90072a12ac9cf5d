"""What must hold of an asset's tables before they are stored.

`CHECKS` are functions of the tables alone. They run inside the asset, before the materialization: a blocking one that
fails fails the step, nothing is stored, and whatever depends on the partition does not start. The others only report.
Not here: checks of what is already stored (checksums, coverage, stale labels, recall), see stored.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import dagster as dg
import polars as pl

from neuron_atlas.core.records import Tables
from neuron_atlas.core.tables.storage import AssetFrames

MAX_CONSERVATION_ERROR = 1e-4
"""Relative; in float32 a larger one means that an effect was lost or counted twice."""
MAX_QUARANTINED = 0.1
"""Share of a prompt set; above it, something is wrong with the set or the options."""


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """Whether a check passed, one sentence that says why, and numbers."""

    passed: bool
    message: str
    numbers: Mapping[str, float | int] = field(default_factory=dict[str, float | int])


@dataclass(frozen=True, slots=True)
class Check:
    """A named condition on an asset's tables. `evaluate` gets the frames about to be stored, and the tables that were read."""

    name: str
    description: str
    evaluate: Callable[[AssetFrames, Tables], CheckOutcome]
    is_blocking: bool = True

    def result(self, asset: str, frames: AssetFrames, inputs: Tables) -> dg.AssetCheckResult:
        """The outcome, in Dagster's form."""
        outcome = self.evaluate(frames, inputs)
        return dg.AssetCheckResult(
            passed=outcome.passed,
            asset_key=dg.AssetKey(asset),
            check_name=self.name,
            severity=dg.AssetCheckSeverity.ERROR if self.is_blocking else dg.AssetCheckSeverity.WARN,
            description=outcome.message,
            metadata=dict(outcome.numbers),
        )


def checks_of(asset: str) -> list[dg.AssetCheckSpec]:
    """The declarations of an asset's checks, for its decorator."""
    return [
        dg.AssetCheckSpec(check.name, asset=asset, description=check.description, blocking=check.is_blocking)
        for check in CHECKS[asset]
    ]


def graphs_conserve(frames: AssetFrames, inputs: Tables) -> CheckOutcome:
    """Effects add up in every graph: kept edges + remainder + bias equal the value of each target.

    A graph imported from elsewhere may lack the numbers for this; its error is missing then, and the check passes over it.
    """
    graphs = frames["graphs"].filter(pl.col("reason").is_null())
    bad = graphs.filter(~(pl.col("conservation_error") <= MAX_CONSERVATION_ERROR))
    worst = float(graphs["conservation_error"].fill_nan(float("inf")).max() or 0.0) if graphs.height else 0.0  # pyright: ignore[reportArgumentType]
    message = f"{graphs.height} graphs, largest relative error {worst:.2g}; allowed {MAX_CONSERVATION_ERROR:g}"
    if bad.height:
        message += (
            f". {bad.height} exceed it, first prompt {bad['prompt_id'][0]!r}; rerun raw_graphs for this prompt set"
        )
    return CheckOutcome(bad.height == 0, message, {"graphs": graphs.height, "exceeding": bad.height})


def graphs_refer(frames: AssetFrames, inputs: Tables) -> CheckOutcome:
    """Edges and targets name nodes of their own graph, and every row a prompt of this set."""
    nodes = frames["nodes"].select("prompt_id", "node")
    lost = {
        ("edge sources", "nodes"): _absent(frames["edges"].select("prompt_id", node="source"), nodes),
        ("edge targets", "nodes"): _absent(frames["edges"].select("prompt_id", node="target"), nodes),
        ("traced logits", "nodes"): _absent(frames["targets"].select("prompt_id", "node"), nodes),
        ("nodes", "prompts"): _absent(nodes.select("prompt_id"), frames["graphs"].select("prompt_id")),
    }
    return _references(lost)


def graphs_traced(frames: AssetFrames, inputs: Tables) -> CheckOutcome:
    """At least one prompt of the set was traced."""
    graphs = frames["graphs"]
    traced = graphs["reason"].null_count()
    if traced:
        return CheckOutcome(True, f"{traced} of {graphs.height} prompts traced", {"traced": traced})
    reasons = graphs["reason"].value_counts(sort=True)
    first = f"; most often: {reasons['reason'][0]}" if reasons.height else "; the set holds no prompt"
    return CheckOutcome(False, f"0 of {graphs.height} prompts traced, expected at least 1{first}", {"traced": 0})


def few_quarantined(frames: AssetFrames, inputs: Tables) -> CheckOutcome:
    """Few prompts were quarantined."""
    graphs = frames["graphs"]
    quarantined = graphs.height - graphs["reason"].null_count()
    share = quarantined / max(graphs.height, 1)
    message = f"{quarantined} of {graphs.height} prompts quarantined; table graphs says why (column reason)"
    return CheckOutcome(share <= MAX_QUARANTINED, message, {"quarantined": quarantined, "share": share})


def not_empty(*tables: str) -> Check:
    """A check that each of the tables has rows."""

    def evaluate(frames: AssetFrames, inputs: Tables) -> CheckOutcome:
        rows = {table: frames[table].height for table in tables}
        empty = [table for table, n in rows.items() if not n]
        message = (
            f"no rows in {', '.join(empty)}; expected at least 1. Check the assets it reads"
            if empty
            else "all have rows"
        )
        return CheckOutcome(not empty, message, rows)

    return Check("not_empty", f"Rows in {', '.join(tables)}.", evaluate)


def within(table: str, low: float, high: float, *columns: str) -> Check:
    """A check that the columns' values lie in a range (missing values aside)."""

    def evaluate(frames: AssetFrames, inputs: Tables) -> CheckOutcome:
        outside = {
            column: frames[table].filter(~pl.col(column).is_between(low - 1e-6, high + 1e-6)).height
            for column in columns
        }
        bad = {column: n for column, n in outside.items() if n}
        message = f"outside {low:g}..{high:g}: {bad}" if bad else f"all within {low:g}..{high:g}"
        return CheckOutcome(not bad, message, outside)

    return Check("in_range", f"{', '.join(columns)} of {table} within {low:g}..{high:g}.", evaluate)


def neurons_exist(table: str, existing: str) -> Check:
    """A check that the neurons of a table are among those of a table that was read."""

    def evaluate(frames: AssetFrames, inputs: Tables) -> CheckOutcome:
        every = inputs[existing].select("layer", "neuron").unique().collect()
        return _references(
            {(f"rows of {table}", f"neurons of {existing}"): _absent(frames[table].select("layer", "neuron"), every)}
        )

    return Check("neurons_exist", f"Every neuron of {table} is in {existing}.", evaluate)


def scored_labels_exist(frames: AssetFrames, inputs: Tables) -> CheckOutcome:
    """Every score belongs to a label."""
    key = ["layer", "neuron", "polarity", "labeler"]
    scores = frames["label_scores"]
    return _references(
        {
            (f"{side} scores", f"{side} labels"): _absent(
                scores.filter(pl.col("side") == side).select(key), inputs[f"{side}_labels"].select(key).collect()
            )
            for side in ("output", "input")
        }
    )


def mostly_labeled(table: str) -> Check:
    """A check, not blocking, that at least half of the rows carry a label."""

    def evaluate(frames: AssetFrames, inputs: Tables) -> CheckOutcome:
        rows, labeled = frames[table].height, frames[table]["label"].count()
        message = f"{labeled} of {rows} rows have a label; column unlabeled_reason says why the others have none"
        return CheckOutcome(labeled * 2 >= rows, message, {"rows": rows, "labeled": labeled})

    return Check("mostly_labeled", "At least half of the rows carry a label.", evaluate, is_blocking=False)


def cluster_paths_exist(frames: AssetFrames, inputs: Tables) -> CheckOutcome:
    """Members name clusters, and every cluster below the top has its parent."""
    clusters = frames["clusters"].select("path")
    members = frames["cluster_members"].select("path").drop_nulls()
    parents = clusters.filter(pl.col("path").str.contains(".", literal=True)).select(
        pl.col("path").str.replace(r"\.[^.]*$", "")
    )
    return _references(
        {
            ("members", "clusters"): _absent(members, clusters),
            ("clusters", "parent clusters"): _absent(parents, clusters),
        }
    )


def profile_members_refer(frames: AssetFrames, inputs: Tables) -> CheckOutcome:
    """Members of the second view name its clusters."""
    clusters = frames["profile_clusters"].select("cluster")
    members = frames["profile_members"].select("cluster").drop_nulls()
    return _references({("members", "clusters"): _absent(members, clusters)})


def counts_all(frames: AssetFrames, inputs: Tables) -> CheckOutcome:
    """The sums count every edge and every neuron instance of the graphs, and every traced prompt."""
    traced = inputs["graphs"].filter(pl.col("reason").is_null())
    instances = inputs["nodes"].filter(pl.col("kind") == "neuron")
    graphs = {"edges": _rows(inputs["edges"]), "neuron instances": _rows(instances), "prompts": _rows(traced)}
    sums = {
        "edges": int(frames["edge_sums"]["n"].sum()),
        "neuron instances": int(frames["neuron_sums"]["n"].sum()),
        "prompts": int(frames["set_sums"]["n_prompts"].sum()),
    }
    return _equal(sums, graphs, what="sums", of="graphs")


def merges_all(frames: AssetFrames, inputs: Tables) -> CheckOutcome:
    """The statistics count as many instances as the sums of all prompt sets together: nothing lost in merging."""
    instances = pl.col("n").sum()
    sums = {
        "edges": int(inputs["edge_sums"].select(instances).collect().item()),
        "neuron instances": int(inputs["neuron_sums"].select(instances).collect().item()),
        "neurons in prompts": _rows(inputs["neuron_prompts"]),
    }
    statistics = {
        "edges": int(frames["edge_stats"]["n"].sum()),
        "neuron instances": int(frames["neuron_profiles"]["n"].sum()),
        "neurons in prompts": frames["neuron_prompts"].height,
    }
    return _equal(statistics, sums, what="statistics", of="sums")


def _equal(found: Mapping[str, int], expected: Mapping[str, int], *, what: str, of: str) -> CheckOutcome:
    bad = {name: (count, expected[name]) for name, count in found.items() if count != expected[name]}
    differ = ", ".join(f"{count:,} {name} in the {what}, {other:,} in the {of}" for name, (count, other) in bad.items())
    return CheckOutcome(not bad, differ or f"{what} count what the {of} hold", found)


def _rows(frame: pl.LazyFrame) -> int:
    return int(frame.select(pl.len()).collect().item())


def labeled_paths_exist(frames: AssetFrames, inputs: Tables) -> CheckOutcome:
    """Every cluster label names a cluster."""
    paths = inputs["clusters"].select("path").collect()
    return _references({("labels", "clusters"): _absent(frames["cluster_labels"].select("path"), paths)})


def analysed_members_refer(frames: AssetFrames, inputs: Tables) -> CheckOutcome:
    """Members of an analysis are in modules that it has."""
    members = frames["analysis_members"].select("analysis", "module").drop_nulls()
    return _references(
        {("members", "modules"): _absent(members, frames["analysis_modules"].select("analysis", "module"))}
    )


def _absent(rows: pl.DataFrame, existing: pl.DataFrame) -> int:
    """How many rows are not among the existing ones (same columns)."""
    return rows.join(existing.unique(), on=rows.columns, how="anti").height


def _references(missing: Mapping[tuple[str, str], int]) -> CheckOutcome:
    """The outcome for rows that refer to others: (what refers, to what) to the number of rows whose target is missing."""
    bad = [f"{n} {what} reference missing {target}" for (what, target), n in missing.items() if n]
    message = ", ".join(bad) if bad else "every reference has its target"
    return CheckOutcome(not bad, message, {f"{what} without {target}": n for (what, target), n in missing.items()})


CHECKS: dict[str, tuple[Check, ...]] = {
    "raw_graphs": (
        Check("graphs_traced", "At least one prompt was traced.", graphs_traced),
        Check("graphs_conserve", "Effects add up in every graph, to 1e-4 relative.", graphs_conserve),
        Check("graphs_refer", "Edges and targets name nodes of their own graph.", graphs_refer),
        Check(
            "few_quarantined", "At most a tenth of the prompts were quarantined.", few_quarantined, is_blocking=False
        ),
    ),
    "faithfulness": (not_empty("faithfulness"), within("faithfulness", -1, 1, "pearson", "spearman")),
    "graph_stats": (
        not_empty("set_sums", "edge_sums", "neuron_sums"),
        Check("counts_all", "Every edge, neuron instance and traced prompt is counted.", counts_all),
    ),
    "edge_stats": (
        not_empty("edge_stats", "neuron_profiles"),
        within("edge_stats", 0, 1, "frequency", "sign_agreement"),
        Check("merges_all", "As many instances as the prompt sets' sums hold together.", merges_all),
    ),
    "activation_stats": (
        not_empty("activation_stats"),
        within("activation_stats", 0, 1, "density_positive", "density_negative"),
    ),
    "output_projections": (not_empty("output_projections"),),
    "input_projections": (not_empty("input_projections"),),
    "der_scores": (not_empty("der_scores"), within("der_scores", 0, 1, "der", "der_pooled", "der_intervention")),
    "output_labels": (neurons_exist("output_labels", "output_projections"), mostly_labeled("output_labels")),
    "input_labels": (neurons_exist("input_labels", "input_projections"), mostly_labeled("input_labels")),
    "label_scores": (Check("labels_exist", "Every score belongs to a label.", scored_labels_exist),),
    "clusters": (
        not_empty("clusters", "cluster_members"),
        Check(
            "paths_exist", "Members name clusters, and every cluster below the top has its parent.", cluster_paths_exist
        ),
    ),
    "profile_clusters": (Check("clusters_exist", "Members name clusters of this view.", profile_members_refer),),
    "cluster_labels": (Check("paths_exist", "Every label names a cluster.", labeled_paths_exist),),
    "analyses": (Check("modules_exist", "Members are in modules of their own analysis.", analysed_members_refer),),
}
"""The checks of each asset, in the order in which they run."""
