"""The circuit of one prompt: trace it, find the modules of its graph, split, describe and test them, compare answers, write it up.

Every step works with what is given. Without a model (a graph from elsewhere) there are modules and flows, and a note says what
could not be measured; without a language model there is no account of the circuit, and the record says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Protocol

import polars as pl

from neuron_atlas.core.attribution.trace import trace_prompt
from neuron_atlas.core.attribution.traceable_model import TraceableModel
from neuron_atlas.core.circuits.analysis.analysis_record import (
    FORMAT,
    Absent,
    AnalysisRecord,
    Answer,
    Flow,
    Settings,
)
from neuron_atlas.core.circuits.analysis.compare_answers import compare_prompt_answers
from neuron_atlas.core.circuits.analysis.describe_circuit import ask_for_account
from neuron_atlas.core.circuits.analysis.interventions.module_interventions import (
    donor_prompt,
    swap_modules,
    zero_modules,
)
from neuron_atlas.core.circuits.analysis.modules.concepts import ConceptQuery, find_concepts
from neuron_atlas.core.circuits.analysis.modules.describe_modules import describe_modules, members_of
from neuron_atlas.core.circuits.analysis.modules.graph_modules import GraphModules, View, cluster_graph
from neuron_atlas.core.circuits.analysis.modules.logit_lens import module_logits
from neuron_atlas.core.circuits.analysis.modules.module_flow import module_flows
from neuron_atlas.core.circuits.analysis.modules.split_modules import Split, SplitOptions, split_modules
from neuron_atlas.core.hashing import content_hash
from neuron_atlas.core.ports import LanguageModel, SubjectModel
from neuron_atlas.core.records import AttributionGraph, InstanceLabels, Prompt, TraceOptions
from neuron_atlas.errors import BadInput

LabelsOf = Callable[[AttributionGraph], tuple[InstanceLabels, str]]
"""Gives the labels of a graph's neurons, and a note where there are none."""


class AnalyzableModel(TraceableModel, SubjectModel, Protocol):
    """A model that can be traced, read and changed."""


@dataclass(frozen=True, slots=True)
class AnalyzeOptions:
    """How modules are found (`modules/graph_modules.py`), split (`modules/split_modules.py`) and tested: every module is set to
    zero and compared with `random_sets` random sets (0: no tests); `compared_answers` answers are compared where the prompt names
    none (0: none)."""

    view: View = "roles"
    min_size: int = 2
    split_above: int = 40
    max_depth: int = 3
    splits: tuple[Split, ...] = ("answer", "position")
    max_gap: int = 3
    max_span: int = 10
    random_sets: int = 20
    compared_answers: int = 5
    seed: int = 0


@dataclass(frozen=True)
class Analysis:
    """The record of an analysis, and the graph it is of."""

    record: AnalysisRecord
    graph: AttributionGraph

    def to_html(self) -> str:
        """The record as an HTML page that needs no other file."""
        from neuron_atlas.core.circuits.analysis.report.analysis_page import analysis_page

        return analysis_page(self.record)

    def _repr_html_(self) -> str:
        from neuron_atlas.core.circuits.analysis.report.analysis_page import analysis_cell

        return analysis_cell(self.record)


def analyze(
    model: AnalyzableModel | None,
    subject: str | Prompt | AttributionGraph,
    *,
    options: AnalyzeOptions | None = None,
    tracing: TraceOptions | None = None,
    donor: str | Prompt | None = None,
    concepts: Mapping[str, ConceptQuery] | None = None,
    labels: LabelsOf | None = None,
    language_model: LanguageModel | None = None,
    progress: Callable[[str], None] | None = None,
) -> Analysis:
    """Analyze the circuit of a prompt, or of a graph that was traced before (then `model` may be None).

    `donor` is a prompt of the same template whose modules' activations replace those of the prompt, one module after the other;
    given as text, it takes over the prompt's form and its contrast with the sides exchanged. `concepts` are searched for in the
    tokens that modules write (see `modules/concepts.py`). Raises `BadInput` for a prompt that cannot be traced, a graph of
    another model, or a donor of another length.
    """
    options, report = options or AnalyzeOptions(), progress or _silent
    graph = subject if isinstance(subject, AttributionGraph) else _traced(model, subject, tracing, report)
    notes = _check_origin(model, graph)
    report("finding modules")
    modules = _modules(model, graph, options)
    flows = module_flows(graph, modules.members)
    found_labels, without = labels(graph) if labels else (InstanceLabels(), "")
    notes += [note for note in (graph.summary.note, without) if note]
    if model is None:
        notes.append(
            "without the model, neither the tokens that modules write nor the effects of ablating them are measured"
        )
    logits = module_logits(model, graph, modules.members) if model else {}
    report("testing modules")
    effects = zero_modules(model, graph, modules, n_random_sets=options.random_sets, seed=options.seed) if model else {}
    described = describe_modules(
        graph, modules, flows, logits=logits, effects=effects, labels=found_labels, model=model
    )
    report("comparing answers")
    compared = compare_prompt_answers(
        model, graph, modules, n_answers=options.compared_answers, tracing=tracing or TraceOptions()
    )
    swapped = None
    if donor is not None:
        if model is None:
            raise BadInput("a donor needs the model as well as the graph; give both")
        report("swapping modules")
        other = _traced(model, donor_prompt(graph.prompt, donor), tracing, report)
        swapped = swap_modules(
            model,
            graph,
            modules,
            other,
            _modules(model, other, options),
            n_random_sets=options.random_sets,
            seed=options.seed,
        )
    answers = tuple(Answer(**row) for row in graph.logits.drop("node").iter_rows(named=True))
    flow_parts = tuple(Flow(**row) for row in flows.iter_rows(named=True))
    account = Absent(reason="no language model was asked")
    if language_model is not None:
        report(f"asking {language_model.name}")
        account = ask_for_account(
            language_model,
            prompt=graph.prompt.text,
            tokens=graph.summary.tokens,
            answers=answers,
            modules=described,
            flows=flow_parts,
        )
    rest = modules.members.filter(pl.col("module").is_null())
    summary = graph.summary
    record = AnalysisRecord(
        code_version=version("neuron_atlas"),
        key=request_key(
            graph.prompt,
            summary.model_revision,
            options=options,
            tracing=summary.options or tracing or TraceOptions(),
            donor=donor,
            concepts=concepts,
            language_model=language_model,
        ),
        prompt=graph.prompt.text,
        answer_prefix=graph.prompt.answer_prefix,
        prompt_id=graph.prompt.prompt_id,
        tags=dict(graph.prompt.tags),
        model_id=summary.model_id,
        model_revision=summary.model_revision,
        rules=summary.rules,
        goal=summary.goal,
        goal_value=_finite_or_none(summary.goal_value),
        position=summary.position,
        tokens=summary.tokens,
        answers=answers,
        scores={name: _finite_or_none(value) for name, value in graph.scores.items()},
        n_neurons=modules.members.height,
        n_links=graph.edges.height,
        settings=Settings(**asdict(options)),
        saving=modules.saving,
        modules=tuple(described),
        unclustered=tuple(members_of(rest, found_labels)),
        flows=flow_parts,
        concepts=find_concepts(model, logits, described, concepts or {}) if model else (),
        donor=swapped,
        compared=compared,
        synthesis=account,
        notes=tuple(notes),
    )
    return Analysis(record, graph)


def request_key(
    prompt: Prompt,
    model_revision: str,
    *,
    options: AnalyzeOptions,
    tracing: TraceOptions,
    donor: str | Prompt | None = None,
    concepts: Mapping[str, ConceptQuery] | None = None,
    language_model: LanguageModel | None = None,
) -> str:
    """The sha256 of everything that shapes an analysis but labels: equal keys, equal records."""
    given = donor_prompt(prompt, donor).prompt_id if donor is not None else None
    wanted = {name: asdict(one) for name, one in (concepts or {}).items()}
    writer = language_model.name if language_model else None
    shape = [prompt.prompt_id, model_revision, asdict(options), asdict(tracing), given, wanted, writer]
    return content_hash([FORMAT, version("neuron_atlas"), *shape])


def _silent(_stage: str) -> None:
    """Progress is not reported."""


def _traced(
    model: AnalyzableModel | None, subject: str | Prompt, tracing: TraceOptions | None, report: Callable[[str], None]
) -> AttributionGraph:
    if model is None:
        raise BadInput("analyzing a prompt needs a model; give one, or a graph instead of the prompt")
    report("tracing")
    prompt = Prompt(subject) if isinstance(subject, str) else subject
    return trace_prompt(model, prompt, options=tracing or TraceOptions())


def _check_origin(model: AnalyzableModel | None, graph: AttributionGraph) -> list[str]:
    """Notes about a graph and its model; raises `BadInput` where the graph cannot be of the model."""
    if model is None:
        return []
    summary, spec = graph.summary, model.spec
    if summary.model_revision and summary.model_revision != spec.revision:
        raise BadInput(
            f"the graph was made by model {summary.model_id} ({summary.model_revision[:12]}), not by {spec.model_id} "
            f"({spec.revision[:12]}); give that model, or none"
        )
    neurons = graph.nodes.filter(pl.col("kind") == "neuron")
    outside = neurons.filter((pl.col("layer") >= spec.n_layers) | (pl.col("neuron") >= spec.n_neurons))
    if outside.height or not all(0 <= one < spec.vocab_size for one in summary.token_ids):
        raise BadInput(
            f"the graph has neurons or tokens that {spec.model_id} does not have; give its own model, or none"
        )
    return [] if summary.model_revision else [f"the graph does not say which model made it; {spec.model_id} is assumed"]


def _modules(model: AnalyzableModel | None, graph: AttributionGraph, options: AnalyzeOptions) -> GraphModules:
    whole = cluster_graph(
        graph,
        special_ids=model.special_ids if model else (),
        view=options.view,
        min_size=options.min_size,
        split_above=options.split_above,
        max_depth=options.max_depth,
        seed=options.seed,
    )
    how = SplitOptions(
        splits=options.splits,
        min_size=options.min_size,
        max_gap=options.max_gap,
        max_span=options.max_span,
        answer_start=_answer_start(model, graph.prompt),
    )
    return split_modules(graph, whole, how)


def _answer_start(model: AnalyzableModel | None, prompt: Prompt) -> int | None:
    """The first position of the answer prefix, where there is one: that of the first token that differs without it."""
    if model is None or not prompt.answer_prefix:
        return None
    whole, bare = model.encode(prompt), model.encode(replace(prompt, answer_prefix=None))
    return next((at for at, (a, b) in enumerate(zip(whole, bare, strict=False)) if a != b), len(bare))


def _finite_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
