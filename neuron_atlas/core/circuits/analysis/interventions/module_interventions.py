"""The modules of a prompt changed, one after the other, in the real model.

When a module is set to zero, the answers it supports should fall further than with random sets. When it is set to its activations
on a **donor**, a prompt of the same template, the answer should change to what the module stands for there (interchange
intervention, Geiger et al. 2021). The donor's matching module (see `comparison/compare_graphs.py`) is changed along with it: on
another prompt other neurons may do the same, and silencing the prompt's own neurons alone would not bring the donor's answer.
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from neuron_atlas.core.circuits.analysis.analysis_record import Donor, Effect, Swap
from neuron_atlas.core.circuits.analysis.comparison.compare_graphs import match_instances
from neuron_atlas.core.circuits.analysis.interventions.steering import (
    Change,
    Site,
    align,
    effect_of,
    sites_of,
    steer,
    transplanted,
    zeroed,
)
from neuron_atlas.core.circuits.analysis.modules.graph_modules import GraphModules
from neuron_atlas.core.ports import SubjectModel
from neuron_atlas.core.records import AttributionGraph, Prompt


def donor_prompt(prompt: Prompt, donor: str | Prompt) -> Prompt:
    """The donor as a prompt: a text takes over the prompt's form, with the sides of its contrast exchanged."""
    if isinstance(donor, Prompt):
        return donor
    turned = None if prompt.contrast is None else (prompt.contrast[1], prompt.contrast[0])
    return replace(prompt, text=donor, contrast=turned, target_tokens=())


def zero_modules(
    model: SubjectModel, graph: AttributionGraph, modules: GraphModules, *, n_random_sets: int, seed: int
) -> dict[int, Effect]:
    """The effect of setting each module to zero, by number; empty for 0 random sets."""
    if n_random_sets == 0:
        return {}
    return {
        number: _effect(model, graph, sites_of(_members(modules, number)), zeroed, _answers(graph), n_random_sets, seed)
        for number in range(1, modules.count + 1)
    }


def swap_modules(
    model: SubjectModel,
    graph: AttributionGraph,
    modules: GraphModules,
    donor: AttributionGraph,
    donated: GraphModules,
    *,
    n_random_sets: int,
    seed: int,
) -> Donor:
    """Each module, with the donor's module that matches it, set to its activations on the donor.

    Raises `BadInput` for a donor of another length.
    """
    places = align(graph.summary.token_ids, donor.summary.token_ids)
    (activations,) = model.activations([donor.summary.token_ids])
    change = transplanted(activations, places)
    matches = match_instances(graph, donor, modules, donated).drop_nulls("likeness").sort("module_a")
    tokens = list(dict.fromkeys([*_answers(graph), *_answers(donor)]))
    swaps: list[Swap] = []
    for one, two, likeness in matches.select("module_a", "module_b", "likeness").iter_rows():
        sites = sites_of(pl.concat([_members(modules, one), _members(donated, two)]))
        effect = _effect(model, graph, sites, change, tokens, n_random_sets, seed)
        swaps.append(Swap(module=one, donor_module=two, likeness=likeness, effect=effect))
    logits = model.logits(donor.summary.token_ids, position=donor.summary.position)[0]
    contrast = graph.logits["token_id"].to_list() if graph.summary.goal == "contrast" else None
    return Donor(
        text=donor.prompt.text,
        tokens=donor.summary.tokens,
        answer=model.token_text(int(logits.argmax())),
        contrast=float(logits[contrast[0]] - logits[contrast[1]]) if contrast else None,
        swaps=tuple(swaps),
    )


def _effect(
    model: SubjectModel,
    graph: AttributionGraph,
    sites: list[Site],
    change: Change,
    tokens: list[int],
    n_random_sets: int,
    seed: int,
) -> Effect:
    ids, position = graph.summary.token_ids, graph.summary.position
    steered = steer(model, ids, sites, change, tokens=tokens, position=position, n_random_sets=n_random_sets, seed=seed)
    return effect_of(steered, model)


def _members(modules: GraphModules, number: int) -> pl.DataFrame:
    return modules.members.filter(pl.col("module") == number)


def _answers(graph: AttributionGraph) -> list[int]:
    """The graph's answers, each once; a direction has none."""
    return list(dict.fromkeys(token for token in graph.logits["token_id"].to_list() if token >= 0))
