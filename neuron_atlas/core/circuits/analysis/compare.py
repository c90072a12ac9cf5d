"""Two graphs side by side: compared with their modules, as frames and as a stored record."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from importlib.metadata import version

import polars as pl

from neuron_atlas.core.circuits.analysis.comparison.alignment import Alignment
from neuron_atlas.core.circuits.analysis.comparison.compare_graphs import Comparison, compare_graphs
from neuron_atlas.core.circuits.analysis.comparison.comparison_record import (
    DEFINITIONS,
    AnswerPair,
    ComparisonRecord,
    Count,
    LinkPair,
    ModulePair,
    NeuronPair,
    Side,
)
from neuron_atlas.core.circuits.analysis.modules.graph_modules import cluster_graph
from neuron_atlas.core.circuits.analysis.report.comparison_page import comparison_page
from neuron_atlas.core.records import AttributionGraph


@dataclass(frozen=True)
class ComparedGraphs:
    """Two graphs compared: `found` with all rows as frames, `record` as it is stored."""

    found: Comparison
    record: ComparisonRecord

    def to_html(self) -> str:
        """The record as an HTML page that needs no other file."""
        return comparison_page(self.record)

    def _repr_html_(self) -> str:
        return self.to_html()


def compare(
    a: AttributionGraph, b: AttributionGraph, *, by: Alignment = "position", special_ids: Collection[int] = ()
) -> ComparedGraphs:
    """Compare two graphs with their modules. `by` says how positions are matched (see `comparison/alignment.py`), `special_ids`
    are the tokenizer's special tokens, whose positions belong to no module."""
    modules_a, modules_b = (cluster_graph(graph, special_ids=special_ids) for graph in (a, b))
    found = compare_graphs(a, b, modules_a, modules_b, by=by)
    return ComparedGraphs(found, comparison_record(a, b, found))


def comparison_record(
    a: AttributionGraph, b: AttributionGraph, found: Comparison, *, most: int = 200
) -> ComparisonRecord:
    """The record of a comparison, with at most `most` neurons, links and sources each, of largest |difference|."""
    models = {one.summary.model_revision or one.summary.model_id for one in (a, b)}
    notes = ["the graphs are of different models, whose neurons have nothing to do with each other"] * (len(models) > 1)
    counts = [found.modules[f"module_{side}"].drop_nulls().len() for side in ("a", "b")]
    return ComparisonRecord(
        code_version=version("neuron_atlas"),
        by=found.by,
        a=_side(a, counts[0]),
        b=_side(b, counts[1]),
        similarities=dict(found.similarities),
        definitions=DEFINITIONS,
        n_neurons=_count(found.neurons),
        n_links=_count(found.links),
        neurons=tuple(NeuronPair(**row) for row in found.neurons.head(most).iter_rows(named=True)),
        links=tuple(LinkPair(**row) for row in found.links.head(most).iter_rows(named=True)),
        answers=tuple(AnswerPair(**row) for row in found.answers.head(most).iter_rows(named=True)),
        modules=tuple(ModulePair(**row) for row in found.modules.iter_rows(named=True)),
        notes=tuple(notes),
    )


def _side(graph: AttributionGraph, n_modules: int) -> Side:
    summary = graph.summary
    return Side(
        prompt=graph.prompt.text,
        prompt_id=graph.prompt.prompt_id,
        model_id=summary.model_id,
        model_revision=summary.model_revision,
        goal=summary.goal,
        tokens=summary.tokens,
        answers=tuple(graph.logits["token"].to_list()),
        n_neurons=graph.nodes.filter(pl.col("kind") == "neuron").height,
        n_links=graph.edges.height,
        n_modules=n_modules,
    )


def _count(paired: pl.DataFrame) -> Count:
    found = paired["found"].to_list()
    return Count(both=found.count("both"), a=found.count("a"), b=found.count("b"))
