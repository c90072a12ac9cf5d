"""Cluster labels: gather what the members say, name every module, test the names on the model."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from neuron_atlas.core.circuits.ablation import AblationBudget, ablation_scores
from neuron_atlas.core.circuits.flow_graph import neuron_edges
from neuron_atlas.core.circuits.members import given, homes, module_members, module_tokens, themes, traffic
from neuron_atlas.core.circuits.naming import ModuleEvidence, ModuleName, Share, name_module
from neuron_atlas.core.ports import SubjectModel
from neuron_atlas.core.records import Frames, Tables
from neuron_atlas.core.tables import CLUSTER_LABELS
from neuron_atlas.errors import Incomplete


def label_clusters(
    clusters: Tables,
    labels: Tables,
    projections: Tables,
    *,
    evidence: Tables | None = None,
    model: SubjectModel | None = None,
    budget: AblationBudget | None = None,
    seed: int = 0,
) -> Frames:
    """Name every module of `clusters` and score the names (table cluster_labels).

    `clusters` holds clusters and cluster_members; `labels` output_labels and input_labels; `projections`
    output_projections. `evidence` may hold edge_stats (flow between modules), neuron_profiles (polarity, prompt sets), der_scores,
    and, for scores, neuron_prompts and graphs. Scores need `model` as well and spend at most `budget` (see `ablation`);
    modules that were not tested have no score. Raises `Incomplete` when clusters or cluster_members are missing.
    """
    for name in ("clusters", "cluster_members"):
        if name not in clusters:
            raise Incomplete(f"cluster labels need table {name!r}, which was not given; materialize clusters first")
    tables = {**clusters, **labels, **projections, **(evidence or {})}
    modules = given(tables, "clusters")
    members = module_members(tables)
    tokens = module_tokens(tables, members)
    named = _names(modules, _evidence(tables, modules, members, tokens), tokens)
    scores = pl.DataFrame(schema={"path": pl.String, "score": pl.Float32, "ci_low": pl.Float32, "ci_high": pl.Float32})
    if model is not None:
        scores = ablation_scores(
            model,
            modules,
            members,
            tokens,
            appearances=given(tables, "neuron_prompts"),
            graphs=given(tables, "graphs"),
            budget=budget or AblationBudget(),
            seed=seed,
        )
    return {"cluster_labels": CLUSTER_LABELS.checked(named.join(scores, on="path", how="left"))}


def _evidence(
    tables: Tables, modules: pl.DataFrame, members: pl.DataFrame, tokens: pl.DataFrame
) -> list[ModuleEvidence]:
    """What is known of every module, in the order of `modules`."""
    edges = neuron_edges({"edge_stats": given(tables, "edge_stats").lazy()})
    does = _lists(themes(tables, "output_labels", members))
    fires_on = _lists(themes(tables, "input_labels", members))
    at_home = _lists(homes(tables, members))
    receives = _lists(traffic(edges, tables, inward=True))
    sends = _lists(traffic(edges, tables, inward=False))
    texts = _texts(tokens)
    columns = modules.select("path", "size", "flow", "layer_min", "layer_max")
    return [
        ModuleEvidence(
            path=path,
            size=size,
            flow=flow,
            layer_min=layer_min,
            layer_max=layer_max,
            does=does.get(path, []),
            fires_on=fires_on.get(path, []),
            homes=at_home.get(path, []),
            tokens=texts.get(path, []),
            receives=receives.get(path, []),
            sends=sends.get(path, []),
        )
        for path, size, flow, layer_min, layer_max in columns.iter_rows()
    ]


def _names(modules: pl.DataFrame, evidence: list[ModuleEvidence], tokens: pl.DataFrame) -> pl.DataFrame:
    """Path, label, description, unlabeled_reason and tokens of every module."""
    names: list[ModuleName] = [name_module(one) for one in evidence]
    texts = _texts(tokens)
    return pl.DataFrame(
        {
            "path": pl.Series(modules["path"], dtype=pl.String),
            "label": pl.Series([n.label for n in names], dtype=pl.String),
            "description": pl.Series([n.description for n in names], dtype=pl.String),
            "unlabeled_reason": pl.Series([n.unlabeled_reason for n in names], dtype=pl.String),
            "tokens": pl.Series([texts.get(one.path, []) for one in evidence], dtype=pl.List(pl.String)),
        }
    )


def _texts(tokens: pl.DataFrame) -> Mapping[str, list[str]]:
    return dict(tokens.group_by("path", maintain_order=True).agg("token").iter_rows())


def _lists(shares: pl.DataFrame) -> Mapping[str, list[Share]]:
    """Shares by module, in order."""
    tokens = shares["tokens"].to_list() if "tokens" in shares.columns else [()] * shares.height
    found: dict[str, list[Share]] = {}
    for (path, text, share), known in zip(shares.select("path", "text", "share").iter_rows(), tokens, strict=True):
        found.setdefault(path, []).append(Share(text, share, tuple(known)))
    return found
