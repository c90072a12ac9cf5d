"""A comparison of two graphs as it is stored: one JSON document, checked when it is read.

Keys name things in the first graph's positions: `L1/N2@3` a neuron at a position, `token 3`, `answer  Salem`; what stands at a
position of the second graph alone has it as `b7`. Lists are cut to the largest differences; the counts are of all.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

import polars as pl
from pydantic import ValidationError

from neuron_atlas.core.circuits.analysis.alignment import Alignment
from neuron_atlas.core.circuits.analysis.comparison import Comparison, compare_graphs
from neuron_atlas.core.circuits.analysis.instances import cluster_graph
from neuron_atlas.core.circuits.analysis.record import Part
from neuron_atlas.core.records import AttributionGraph
from neuron_atlas.errors import BadInput

FORMAT = "neuron_atlas/comparison/1"
"""What a document calls itself; another version is refused."""

DEFINITIONS = {
    "neurons": "shared neuron instances over all of either graph (Jaccard)",
    "neurons_weighted": "sum of the smaller |relevance| over sum of the larger, 0 where the signs differ",
    "links": "shared links over all (Jaccard)",
    "links_weighted": "sum of the smaller |flow| over sum of the larger, 0 where the signs differ",
    "roles": "mean over shared instances of the cosine of their flows in both graphs, at least 0",
    "modules": "mean likeness of matched modules, over the larger number of modules",
}
"""What each similarity is."""

Found = Literal["both", "a", "b"]


class Side(Part):
    """One of the graphs."""

    prompt: str
    prompt_id: str
    model_id: str
    model_revision: str
    goal: str
    tokens: tuple[str, ...]
    answers: tuple[str, ...]
    n_neurons: int
    n_links: int
    n_modules: int


class Count(Part):
    """How many things stand in both graphs, in the first alone, in the second alone."""

    both: int
    a: int
    b: int


class NeuronPair(Part):
    """A neuron instance in both graphs; relevance in logits."""

    key: str
    layer: int
    neuron: int
    position_a: int | None
    position_b: int | None
    token: str | None
    relevance_a: float | None
    relevance_b: float | None
    difference: float
    found: Found


class LinkPair(Part):
    """A link in both graphs; flow in logits."""

    source: str
    target: str
    flow_a: float | None
    flow_b: float | None
    difference: float
    found: Found


class AnswerPair(Part):
    """What a neuron or token sends directly to all answers; flow in logits."""

    source: str
    flow_a: float
    flow_b: float
    difference: float


class ModulePair(Part):
    """Two matched modules, or one without match."""

    module_a: int | None
    module_b: int | None
    likeness: float | None
    members: float | None
    places: float | None


class ComparisonRecord(Part):
    """Two graphs compared (see `comparison`)."""

    format: Literal["neuron_atlas/comparison/1"] = FORMAT
    code_version: str
    by: Literal["position", "end", "token"]
    a: Side
    b: Side
    similarities: dict[str, float | None]
    definitions: dict[str, str]
    n_neurons: Count
    n_links: Count
    neurons: tuple[NeuronPair, ...]
    links: tuple[LinkPair, ...]
    answers: tuple[AnswerPair, ...]
    modules: tuple[ModulePair, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ComparedGraphs:
    """Two graphs compared: `found` with all rows as frames, `record` as it is stored."""

    found: Comparison
    record: ComparisonRecord

    def to_html(self) -> str:
        """The record as a page, complete in itself."""
        from neuron_atlas.core.circuits.analysis.report import comparison_page

        return comparison_page(self.record)

    def _repr_html_(self) -> str:
        return self.to_html()


def compare(
    a: AttributionGraph, b: AttributionGraph, *, by: Alignment = "position", special_ids: Collection[int] = ()
) -> ComparedGraphs:
    """Compare two graphs with their modules. `by` says which positions stand for each other (see `alignment`), `special_ids`
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


def read_comparison(text: str) -> ComparisonRecord:
    """The record of a JSON document. Raises `BadInput` naming the first field that does not fit."""
    try:
        return ComparisonRecord.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise BadInput(f"this is no comparison of format {FORMAT}: {where}: {first['msg']}") from error


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
