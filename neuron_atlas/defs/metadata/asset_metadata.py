"""What the Dagster UI shows of each asset: a few numbers, a plot or two, a table.

Dagster itself plots numbers of a partitioned asset over its partitions. Not here: rows, columns, hash and location, which the
IO manager adds (defs/io_managers.py); which numbers a plot shows (statistics_plots.py) and how it is drawn (drawing.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import dagster as dg
import polars as pl

from neuron_atlas.core.labeling.evidence.labeler_answer import LEFT_OUT, UNANSWERED
from neuron_atlas.core.tables.storage import AssetFrames
from neuron_atlas.defs.metadata import statistics_plots
from neuron_atlas.defs.metadata.drawing import bars, curves, histogram, markdown_table, scatter

Metadata = Mapping[str, int | float | dg.MetadataValue]


def asset_metadata(asset: str, frames: AssetFrames) -> Metadata:
    """Numbers, plots and tables of one asset's frames, which are about to be stored."""
    return _METADATA[asset](frames)


def _raw_graphs(frames: AssetFrames) -> Metadata:
    graphs = frames["graphs"]
    traced = graphs.filter(pl.col("reason").is_null())
    reasons = graphs.drop_nulls("reason").select("prompt_id", "reason").head(10)
    return {
        "prompts_traced": traced.height,
        "prompts_quarantined": graphs.height - traced.height,
        "edges": frames["edges"].height,
        "completeness_mean": _mean(traced, "completeness"),
        "replacement_mean": _mean(traced, "replacement"),
        "conservation_error_max": _largest(traced, "conservation_error"),
        "nodes_per_graph": _md(histogram(_values(traced, "n_nodes"), title="Nodes per graph", unit="nodes")),
        "quarantined": _md(markdown_table(["prompt", "reason"], reasons.rows())),
    }


def _faithfulness(frames: AssetFrames) -> Metadata:
    measured = frames["faithfulness"]
    rows = measured.drop_nulls("pearson").sort("protocol", "n", "method")
    relp = rows.filter(pl.col("method").str.starts_with("relp/"))
    by_method = rows.pivot("method", index=["protocol", "n"], values="pearson")
    circuits = measured.filter(pl.col("protocol") == "circuit", ~pl.col("method").str.starts_with("half+qk/"))
    parts = circuits.sort("n").partition_by("method", as_dict=True, maintain_order=True)
    lines = {str(method): (_values(part, "n"), _values(part, "share")) for (method,), part in sorted(parts.items())}
    return {
        "relp_pearson_mean": _mean(relp, "pearson"),
        "by_method": _md(markdown_table(by_method.columns, by_method.rows())),
        "circuits": _md(
            curves(lines, title="Circuits on held-out prompts", x_unit="neurons", y_unit="share of the goal kept")
        ),
    }


def _graph_stats(frames: AssetFrames) -> Metadata:
    layers = frames["neuron_sums"].group_by("layer").agg(n=pl.col("n").sum()).sort("layer")
    return {
        "neurons": frames["neuron_sums"].select("layer", "neuron").n_unique(),
        "edges": frames["edge_sums"].height,
        "instances_per_layer": _md(
            bars(
                [f"L{layer}" for layer in layers["layer"]],
                _values(layers, "n"),
                title="Neuron instances",
                unit="instances",
            )
        ),
    }


def _edge_stats(frames: AssetFrames) -> Metadata:
    edges = frames["edge_stats"]
    ends = edges.group_by("source_kind", "target_kind").len("edges").sort("edges", descending=True)
    strongest = (
        edges.filter(pl.col("source_kind") == "neuron", pl.col("target_kind") == "neuron")
        .sort("flow_abs_mean", descending=True)
        .head(8)
        .select(
            pl.format("L{}/N{}", "source_layer", "source"),
            pl.format("L{}/N{}", "target_layer", "target").alias("to"),
            "n_prompts",
            "weight_mean",
            "flow_mean",
        )
    )
    return {
        "neurons": frames["neuron_profiles"].select("layer", "neuron").n_unique(),
        "kinds": _md(markdown_table(ends.columns, ends.rows())),
        "strongest": _md(markdown_table(["from", "to", "prompts", "mean weight", "mean flow"], strongest.rows())),
        "degrees": _md(statistics_plots.degrees(edges)),
        "weights": _md(statistics_plots.weights(edges)),
        "frequency": _md(histogram(_values(edges, "frequency"), title="How often an edge appears", unit="frequency")),
        "specialists": _md(statistics_plots.specialists(frames["neuron_profiles"])),
    }


def _activation_stats(frames: AssetFrames) -> Metadata:
    stats = frames["activation_stats"]
    density = stats.select(d=(pl.col("density_positive") + pl.col("density_negative")).clip(1e-6).log10())
    return {
        "neurons": stats.height,
        "tokens": int(_largest(stats, "n_tokens")),
        "exemplars": frames["exemplars"].height,
        "density": _md(histogram(_values(density, "d"), title="Density of activation", unit="log10 share of tokens")),
    }


def _projections(table: str, value: str) -> Callable[[AssetFrames], Metadata]:
    def metadata(frames: AssetFrames) -> Metadata:
        rows = frames[table]
        first = rows.filter(pl.col("rank") == 0, pl.col("direction") == 1).sort(value, descending=True).head(8)
        shown = first.select(pl.format("L{}/N{}", "layer", "neuron"), "token", value)
        tops = rows.filter(pl.col("rank") == 0)
        return {
            "neurons": rows.select("layer", "neuron").n_unique(),
            "strongest": _md(markdown_table(["neuron", "token", value], shown.rows())),
            "values": _md(histogram(_values(tops, value), title="First token of every neuron", unit=value)),
        }

    return metadata


def _der_scores(frames: AssetFrames) -> Metadata:
    scores = frames["der_scores"]
    kinds = scores.group_by("effect_type").len("n").sort("effect_type")
    return {
        "neurons": scores.height,
        "der_mean": _mean(scores, "der"),
        "checked_by_intervention": scores["der_intervention"].count(),
        "effect_types": _md(markdown_table(kinds.columns, kinds.rows())),
        "der": _md(
            histogram(_values(scores, "der"), title="Direct-effect ratio", unit="share of the effect that is direct")
        ),
        "der_by_layer": _md(statistics_plots.ratio_by_layer(scores)),
    }


def _labels(table: str) -> Callable[[AssetFrames], Metadata]:
    def metadata(frames: AssetFrames) -> Metadata:
        rows = frames[table]
        labeled = rows.drop_nulls("label")
        best = labeled.sort("confidence", descending=True, nulls_last=True).head(8)
        shown = best.select(pl.format("L{}/N{}", "layer", "neuron"), "polarity", "label", "confidence")
        kinds = labeled.group_by("type").len("n").sort("n", "type", descending=True)
        return {
            "labeled": labeled.height,
            "labeled_share": labeled.height / max(rows.height, 1),
            "unanswered": rows.filter(pl.col("unlabeled_reason").str.starts_with(UNANSWERED)).height,
            "left_out": rows.filter(pl.col("unlabeled_reason").str.starts_with(LEFT_OUT)).height,
            "most_confident": _md(markdown_table(["neuron", "sign", "label", "confidence"], shown.rows())),
            "types": _md(bars(kinds["type"].to_list(), _values(kinds, "n"), title="Kinds of function", unit="labels")),
        }

    return metadata


def _label_scores(frames: AssetFrames) -> Metadata:
    scores = frames["label_scores"]
    by_metric = (
        scores.group_by("side", "metric")
        .agg(
            n=pl.len(),
            score=pl.col("score").mean(),
            null=pl.col("null_score").mean(),
            corrected=pl.col("corrected").mean(),
        )
        .sort("side", "metric")
    )
    names = [f"{side}: {metric}" for side, metric in by_metric.select("side", "metric").rows()]
    return {
        "scores": scores.height,
        "corrected_mean": _mean(scores, "corrected"),
        "by_metric": _md(markdown_table(by_metric.columns, by_metric.rows())),
        "corrected": _md(
            bars(
                names,
                by_metric["corrected"].fill_null(0).to_list(),
                title="Mean corrected score",
                unit="0 chance, 1 perfect",
            )
        ),
    }


def _clusters(frames: AssetFrames) -> Metadata:
    clusters, members, run = frames["clusters"], frames["cluster_members"], frames["cluster_runs"]
    top = clusters.filter(pl.col("level") == 1)
    inside = members.drop_nulls("path").group_by("layer").len().sort("layer")
    outside = members.filter(pl.col("path").is_null()).height
    return {
        "top_clusters": top.height,
        "stable_share": _mean(clusters.select(pl.col("is_stable").cast(pl.Float64)), "is_stable"),
        "stable_flow": float(top.filter(pl.col("is_stable"))["flow"].sum()),
        "codelength_saving": _mean(run, "saving"),
        "neurons_clustered": int(run["n_clustered"].sum()),
        "neurons_unclustered": outside,
        "stability": _md(
            scatter(
                _values(clusters, "size"), _values(clusters, "stability"), title="Stability of clusters", x_unit="neurons",
                y_unit="mean best Jaccard",
            )
        ),
        "sizes": _md(histogram(_values(top, "size"), title="Sizes of top clusters", unit="neurons")),
        "layers": _md(
            bars(
                [f"L{layer}" for layer in inside["layer"]], _values(inside, "len"), title="Clustered neurons by layer",
                unit="neurons",
            )
        ),
        "flow": _md(statistics_plots.cluster_flows(top, frames["cluster_flows"])),
    }  # fmt: skip


def _profile_clusters(frames: AssetFrames) -> Metadata:
    clusters, members = frames["profile_clusters"], frames["profile_members"]
    shown = clusters.sort("size", descending=True).head(12)
    columns = ["cluster", "size", "input_tokens", "raised_tokens", "stability"]
    rows = [
        [number, size, ", ".join(inputs[:4]), ", ".join(raises[:4]), stability]
        for number, size, inputs, raises, stability in shown.select(columns).iter_rows()
    ]
    agreement = frames["profile_agreement"].select("level", "ami").rows()
    return {
        "clusters": clusters.height,
        "stable_share": _mean(clusters.select(pl.col("is_stable").cast(pl.Float64)), "is_stable"),
        "unclustered": members["cluster"].null_count(),
        **{f"agreement_{level}": float(ami) for level, ami in agreement},
        "largest": _md(markdown_table(["cluster", "neurons", "made of", "raises", "stability"], rows)),
        "sizes": _md(histogram(_values(clusters, "size"), title="Sizes of profile clusters", unit="neurons")),
    }


def _cluster_labels(frames: AssetFrames) -> Metadata:
    labels = frames["cluster_labels"]
    shown = labels.sort("score", descending=True, nulls_last=True).head(12).select("path", "label", "score")
    return {
        "labeled": labels["label"].count(),
        "best": _md(markdown_table(["path", "label", "score (logits)"], shown.rows())),
        "scores": _md(histogram(_values(labels, "score"), title="Effect of ablation beyond chance", unit="logits")),
    }


def _analyses(frames: AssetFrames) -> Metadata:
    analyses, modules = frames["analyses"], frames["analysis_modules"]
    best = modules.sort("relevance", descending=True).group_by("analysis", maintain_order=True).first()
    shown = analyses.join(best, on="analysis", how="left").select("prompt", "n_modules", "name", "share").head(12)
    return {
        "analyses": analyses.height,
        "prompts": analyses["prompt_id"].n_unique(),
        "modules": modules.height,
        "largest_modules": _md(
            markdown_table(["prompt", "modules", "largest module", "its share of the goal"], shown.rows())
        ),
    }


def _md(text: str) -> dg.MetadataValue:
    return dg.MetadataValue.md(text)


def _values(frame: pl.DataFrame, column: str) -> list[float]:
    """The finite values of a column."""
    values = frame[column].cast(pl.Float64).drop_nulls()
    return values.filter(values.is_finite()).to_list()


def _mean(frame: pl.DataFrame, column: str) -> float:
    values = _values(frame, column)
    return sum(values) / len(values) if values else 0.0


def _largest(frame: pl.DataFrame, column: str) -> float:
    return max(_values(frame, column), default=0.0)


_METADATA: dict[str, Callable[[AssetFrames], Metadata]] = {
    "raw_graphs": _raw_graphs,
    "faithfulness": _faithfulness,
    "graph_stats": _graph_stats,
    "edge_stats": _edge_stats,
    "activation_stats": _activation_stats,
    "output_projections": _projections("output_projections", "weight"),
    "input_projections": _projections("input_projections", "response"),
    "der_scores": _der_scores,
    "output_labels": _labels("output_labels"),
    "input_labels": _labels("input_labels"),
    "label_scores": _label_scores,
    "clusters": _clusters,
    "profile_clusters": _profile_clusters,
    "cluster_labels": _cluster_labels,
    "analyses": _analyses,
}
