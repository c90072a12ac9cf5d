"""Prompts in, table `faithfulness` out: how well each rule set predicts what interventions do.

Importing this module does not import torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from neuron_atlas.core.attribution.faithfulness.table_rows import RANDOM, correlation_rows, share_rows
from neuron_atlas.core.attribution.linearisation.rules import RULE_SETS, RuleSet, rule_set
from neuron_atlas.core.records import Prompt, PromptSet
from neuron_atlas.core.tables import FAITHFULNESS
from neuron_atlas.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

    from neuron_atlas.core.attribution.faithfulness.cases import Case
    from neuron_atlas.core.attribution.faithfulness.interventions import InterventionModel

Rows = list[dict[str, object]]
Gradients = Mapping[str, Sequence["Tensor"]]
"""Of every rule set, one [L, P, I] per case."""


@dataclass(frozen=True, slots=True)
class EvaluationBudget:
    """How much is measured: prompts; per prompt single nodes, random subsets of each size, sources of edges; numbers of nodes kept;
    sizes of circuits, and random circuits of each size. The default is a sample that takes a second or two on a small model."""

    prompts: int = 8
    singles: int = 10
    subsets: int = 10
    subset_sizes: tuple[int, ...] = (4, 16, 64)
    sources: int = 10
    kept: tuple[int, ...] = (10, 30, 100)
    circuits: tuple[int, ...] = (32, 128, 512)
    random_circuits: int = 2


def evaluate(
    model: InterventionModel,
    prompts: PromptSet | Sequence[Prompt],
    *,
    rules: Sequence[str] = tuple(RULE_SETS),
    edge_rules: Sequence[str] | None = None,
    budget: EvaluationBudget | None = None,
    seed: int = 0,
) -> pl.DataFrame:
    """Hold the attributions of rule sets against interventions in the model as it is; rows of table `faithfulness`.

    `budget.prompts` of the prompts are taken at even distances. Prompts with a partner (tag `partner`, see
    faithfulness/cases.py) also take part in `patch_output` and in circuits. Edges are measured under `edge_rules`, by default
    the linear ones of `rules` (the others' edges are slow). The same arguments give the same rows. Raises `UnknownName` for a
    rule set that does not exist, `BadInput` for a budget below 1 or when no prompt can be run.
    """
    from neuron_atlas.core.attribution.faithfulness.cases import prepare
    from neuron_atlas.core.attribution.faithfulness.gradients import gradients
    from neuron_atlas.core.attribution.linearisation.torch_threads import suited_threads

    chosen = [rule_set(name) for name in rules]
    with_edges = [rule_set(name) for name in edge_rules] if edge_rules is not None else _linear(chosen)
    budget = _checked(budget or EvaluationBudget())
    name, given = (prompts.name, prompts.prompts) if isinstance(prompts, PromptSet) else ("", tuple(prompts))
    with suited_threads(model.spec.d_model):
        cases = prepare(model, given, most=budget.prompts) if given else []
        if not cases:
            raise BadInput(f"none of {len(given)} prompts can be run; expected at least 1. Trace one to see why")
        clean = {rules.identity: gradients(model, [case.clean for case in cases], rules) for rules in chosen}
        rows = [
            *_patching(model, cases, chosen, seed),
            *_ablation(model, cases, clean, budget, seed),
            *_circuits(model, cases, clean, budget, seed),
            *_edges(model, cases, with_edges, budget, seed),
        ]
    frame = pl.DataFrame(rows, schema_overrides=FAITHFULNESS.schema, infer_schema_length=None)
    return FAITHFULNESS.checked(frame.with_columns(prompt_set=pl.lit(name)))


def _patching(model: InterventionModel, cases: Sequence[Case], rules: Sequence[RuleSet], seed: int) -> Rows:
    from neuron_atlas.core.attribution.faithfulness.gradients import gradients
    from neuron_atlas.core.attribution.faithfulness.patching import patch_outputs

    pairs = [(case.clean, case.corrupt) for case in cases if case.corrupt is not None]
    found = {each.identity: gradients(model, [corrupt for _, corrupt in pairs], each) for each in rules}
    compared = [
        patch_outputs(model, clean, corrupt, {method: of_runs[index] for method, of_runs in found.items()})
        for index, (clean, corrupt) in enumerate(pairs)
    ]
    return correlation_rows("patch_output", [one for one in compared if one is not None], seed=seed)


def _ablation(
    model: InterventionModel, cases: Sequence[Case], clean: Gradients, budget: EvaluationBudget, seed: int
) -> Rows:
    from neuron_atlas.core.attribution.faithfulness.ablation import ablate_nodes, keep_top

    rng = np.random.default_rng([seed, 1])
    counts = {1: budget.singles} | dict.fromkeys(budget.subset_sizes, budget.subsets)
    relevances = [
        {method: gradients[index] * case.clean.activation for method, gradients in clean.items()}
        for index, case in enumerate(cases)
    ]
    ablated = [
        ablate_nodes(model, case.clean, relevance, counts=counts, rng=rng)
        for case, relevance in zip(cases, relevances, strict=True)
    ]
    kept = [
        keep_top(model, case.clean, relevance, sizes=budget.kept)
        for case, relevance in zip(cases, relevances, strict=True)
    ]
    parts = {key: np.array([one.parts[key] for one in kept]) for key in kept[0].parts}
    rows = share_rows("keep_top", parts, np.array([one.whole for one in kept]), seed=seed)
    for n in counts:
        of_size = [found[n] for found in ablated if n in found]
        rows += correlation_rows("ablate_one" if n == 1 else "ablate_subset", of_size, n=n, seed=seed)
    return rows


def _circuits(
    model: InterventionModel, cases: Sequence[Case], clean: Gradients, budget: EvaluationBudget, seed: int
) -> Rows:
    import torch

    from neuron_atlas.core.attribution.faithfulness.circuits import (
        circuit_curves,
        circuit_scores,
        mean_activations,
        split,
    )

    training, tests = split(cases)
    if not tests:
        return []
    means = mean_activations(cases)
    learned = [cases[index] for index in training]
    scores = {
        method: circuit_scores(learned, [gradients[index] for index in training], means)
        for method, gradients in clean.items()
    }
    rng = np.random.default_rng([seed, 2])
    shape = next(iter(scores.values())).shape
    for draw in range(budget.random_circuits):
        scores[f"{RANDOM} {draw}"] = torch.as_tensor(rng.random(shape))
    curves = circuit_curves(model, [cases[index] for index in tests], scores, means, sizes=budget.circuits)
    return [
        *share_rows("circuit", curves.circuit, curves.whole, seed=seed),
        *share_rows("complement", curves.complement, curves.whole, seed=seed),
    ]


def _edges(
    model: InterventionModel, cases: Sequence[Case], rules: Sequence[RuleSet], budget: EvaluationBudget, seed: int
) -> Rows:
    from neuron_atlas.core.attribution.faithfulness.edges import measure_edges

    rows: Rows = []
    for each in rules:
        compared = measure_edges(model, cases, each, sources=budget.sources)
        rows += correlation_rows("edge", [one.edges for one in compared], seed=seed)
        rows += correlation_rows("direct", [one.direct for one in compared], seed=seed)
    return rows


def _linear(rules: Sequence[RuleSet]) -> list[RuleSet]:
    return [each for each in rules if each.is_linear]


def _checked(budget: EvaluationBudget) -> EvaluationBudget:
    counts = (budget.prompts, budget.singles, budget.subsets, budget.sources)
    if min(*counts, *budget.kept, *budget.circuits, *budget.subset_sizes) < 1 or budget.random_circuits < 0:
        raise BadInput(f"every part of a budget must be at least 1 (random_circuits: 0), got {budget}")
    if 1 in budget.subset_sizes:
        raise BadInput("subsets hold at least 2 nodes; how many single nodes are ablated is set by `singles`")
    return budget
