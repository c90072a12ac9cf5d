"""Cluster labels: gather the evidence of every module, name it, test the name on the model."""

from __future__ import annotations

import polars as pl

from neuron_atlas.core.circuits.naming.ablation_scores import AblationBudget, ablation_scores
from neuron_atlas.core.circuits.naming.module_evidence import (
    ModuleEvidence,
    module_evidence,
    module_members,
    module_tokens,
    table_or_empty,
)
from neuron_atlas.core.circuits.naming.name_by_language_model import PROMPT_VERSION, language_names
from neuron_atlas.core.circuits.naming.name_by_rules import ModuleName, name_module
from neuron_atlas.core.labeling.evidence.shown_label import first_shown
from neuron_atlas.core.ports import LanguageModel, SubjectModel
from neuron_atlas.core.records import Frames, Tables
from neuron_atlas.core.tables import CLUSTER_LABELS
from neuron_atlas.errors import Incomplete

RULES_VERSION = "1"
"""Raise when the rules that compose names change."""

ASKED = 300
"""Modules named by a language model, those of most flow, level by level."""


def label_clusters(
    clusters: Tables,
    labels: Tables,
    projections: Tables,
    *,
    evidence: Tables | None = None,
    model: SubjectModel | None = None,
    language_model: LanguageModel | None = None,
    labeler: str = "openai",
    budget: AblationBudget | None = None,
    seed: int = 0,
) -> Frames:
    """Name every module of `clusters` by rules, and by `language_model` where one is given; score the names (table cluster_labels).

    `clusters` holds clusters and cluster_members; `labels` output_labels and input_labels; `projections` output_projections.
    `evidence` may hold edge_stats (flow between modules), neuron_profiles (polarity, prompt sets), der_scores, and, for scores,
    neuron_prompts and graphs. Rows of the language model have the name `labeler`. Scores need `model` as well and spend at most
    `budget` for each labeler (see `ablation_scores.py`); modules that were not tested have no score. The best name of a module is
    the language model's, where it has one. Raises `Incomplete` when clusters or cluster_members are missing.
    """
    for name in ("clusters", "cluster_members"):
        if name not in clusters:
            raise Incomplete(f"cluster labels need table {name!r}, which was not given; materialize clusters first")
    tables = {**clusters, **labels, **projections, **(evidence or {})}
    modules = table_or_empty(tables, "clusters").sort("level", "flow", "path", descending=[False, True, False])
    members = module_members(tables)
    tokens = module_tokens(tables, members)
    evidence_of_modules = module_evidence(tables, modules, members, tokens)
    named = {("rules", RULES_VERSION): [(one, name_module(one)) for one in evidence_of_modules]}
    if language_model is not None:
        asked = evidence_of_modules[:ASKED]
        version = f"{language_model.name} {PROMPT_VERSION}"
        named[labeler, version] = list(zip(asked, language_names(language_model, asked), strict=True))
    rows: list[pl.DataFrame] = []
    for (who, version), names in named.items():
        found = _rows(names).with_columns(labeler=pl.lit(who), version=pl.lit(version))
        meant = found.select("path", token="tokens").explode("token").join(tokens, on=["path", "token"])
        rows.append(found.join(_scores(model, tables, modules, members, meant, budget, seed), on="path", how="left"))
    return {"cluster_labels": CLUSTER_LABELS.checked(_with_best(pl.concat(rows)))}


def _scores(
    model: SubjectModel | None,
    tables: Tables,
    modules: pl.DataFrame,
    members: pl.DataFrame,
    tokens: pl.DataFrame,
    budget: AblationBudget | None,
    seed: int,
) -> pl.DataFrame:
    """Columns path, score, ci_low, ci_high; no rows without a model."""
    if model is None:
        return pl.DataFrame(
            schema={"path": pl.String, "score": pl.Float32, "ci_low": pl.Float32, "ci_high": pl.Float32}
        )
    return ablation_scores(
        model,
        modules,
        members,
        tokens,
        appearances=table_or_empty(tables, "neuron_prompts"),
        graphs=table_or_empty(tables, "graphs"),
        budget=budget or AblationBudget(),
        seed=seed,
    )


def _rows(names: list[tuple[ModuleEvidence, ModuleName]]) -> pl.DataFrame:
    """Path, label, description, unlabeled_reason and tokens of every name."""
    return pl.DataFrame(
        {
            "path": pl.Series([one.path for one, _ in names], dtype=pl.String),
            "label": pl.Series([name.label for _, name in names], dtype=pl.String),
            "description": pl.Series([name.description for _, name in names], dtype=pl.String),
            "unlabeled_reason": pl.Series([name.unlabeled_reason for _, name in names], dtype=pl.String),
            "tokens": pl.Series([list(name.tokens or one.tokens) for one, name in names], dtype=pl.List(pl.String)),
        }
    )


def _with_best(rows: pl.DataFrame) -> pl.DataFrame:
    """Column is_best: of a module's names the one to show, that of the labeler that comes first in the order of precedence."""
    best = first_shown(rows, ["path"]).select("path", "labeler", is_best=pl.lit(True))
    return rows.join(best, on=["path", "labeler"], how="left").with_columns(pl.col("is_best").fill_null(False))
