"""An analysis of the demo model: every part is there, agrees with the others, and reads back as itself."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import polars as pl
import pytest

from neuron_atlas import demo
from neuron_atlas.core.attribution.effects.answer_relevance import answer_relevance
from neuron_atlas.core.attribution.trace import trace
from neuron_atlas.core.circuits.analysis.analysis_record import Absent, Answers, read_record
from neuron_atlas.core.circuits.analysis.analysis_tables import analysis_tables
from neuron_atlas.core.circuits.analysis.analyze import Analysis, AnalyzeOptions, analyze, request_key
from neuron_atlas.core.circuits.analysis.compare import compare
from neuron_atlas.core.circuits.analysis.comparison.comparison_record import ComparisonRecord
from neuron_atlas.core.circuits.analysis.interventions.study_summary import summarise_study
from neuron_atlas.core.circuits.analysis.modules.concepts import ConceptQuery
from neuron_atlas.core.llm_requests import NoReply
from neuron_atlas.core.records import InstanceLabels, Prompt, TraceOptions
from neuron_atlas.errors import BadInput
from neuron_atlas_tests.scripted_model import ScriptedModel

TUCSON = Prompt("the capital of the state containing Tucson is", contrast=(" Phoenix", " Boston"))
WORCESTER = "the capital of the state containing Worcester is"


@pytest.fixture(scope="module")
def model():
    import torch

    import neuron_atlas as na

    torch.set_num_threads(1)
    return na.load_model(str(demo.MODEL_DIR))


@pytest.fixture(scope="module")
def found(model) -> Analysis:
    return analyze(
        model,
        TUCSON,
        donor=WORCESTER,
        concepts={"capital": ConceptQuery((" Phoenix",), (" Phoenix", " Boston", " Salem"))},
        options=AnalyzeOptions(random_sets=3),
    )


def test_modules_and_the_rest_are_all_neurons_of_the_graph(found) -> None:
    record = found.record
    held = [m.neuron + f"@{m.position}" for one in record.modules for m in one.members]
    rest = [m.neuron + f"@{m.position}" for m in record.unclustered]
    assert len(held) + len(rest) == len(set(held + rest)) == record.n_neurons
    assert all(m.reason for m in record.unclustered)
    assert all(one.size == len(one.members) for one in record.modules)


def test_rows_say_what_the_record_says(found) -> None:
    tables, record = analysis_tables([found.record]), found.record
    assert tables["analyses"].select("prompt", "donor", "n_modules").row(0) == (
        TUCSON.text,
        WORCESTER,
        len(record.modules),
    )
    members = tables["analysis_members"]
    assert members.height == record.n_neurons
    assert members.filter(pl.col("module").is_null()).height == len(record.unclustered)
    sizes = members.drop_nulls("module").group_by("module").agg(size=pl.len(), relevance=pl.col("relevance").sum())
    modules = tables["analysis_modules"].join(sizes, on="module", suffix="_summed")
    assert modules["size"].to_list() == modules["size_summed"].to_list()
    assert modules["relevance"].to_list() == pytest.approx(modules["relevance_summed"].to_list(), abs=1e-4)
    (capital,) = (concept for concept in record.concepts if concept.name == "capital")
    named = tables["analysis_modules"].filter(pl.col("concepts").list.contains("capital"))
    assert named["module"].to_list() == [capital.module]
    assert record.donor
    swapped = {swap.module: swap.effect.top_after for swap in record.donor.swaps}
    assert dict(tables["analysis_modules"].drop_nulls("top_swapped").select("module", "top_swapped").rows()) == swapped
    assert tables["analysis_flows"].height == len(record.flows)


def test_no_module_stands_at_a_special_token(found) -> None:
    assert found.record.tokens[0] == "<bos>"
    assert all(0 not in one.positions for one in found.record.modules)


def test_relevance_of_modules_and_rest_adds_up_to_the_graphs(found) -> None:
    total = found.graph.nodes.filter(pl.col("kind") == "neuron")["relevance"].sum()
    record = found.record
    assert sum(one.relevance for one in record.modules) + sum(m.relevance for m in record.unclustered) == pytest.approx(
        total, rel=1e-4
    )


def test_a_record_reads_back_as_itself_and_refuses_what_it_does_not_know(found) -> None:
    text = found.record.model_dump_json()
    assert read_record(text) == found.record
    fields = json.loads(text)
    with pytest.raises(BadInput, match="colour"):
        read_record(json.dumps({**fields, "colour": 1}))
    with pytest.raises(BadInput, match="format"):
        read_record(json.dumps({**fields, "format": "neuron_atlas/analysis/2"}))
    with pytest.raises(BadInput, match=r"modules\.0\.size"):
        read_record(json.dumps({**fields, "modules": [{**fields["modules"][0], "size": "big"}]}))


def test_the_same_request_gives_the_same_record_and_key(model, found) -> None:
    again = analyze(
        model,
        TUCSON,
        donor=WORCESTER,
        concepts={"capital": ConceptQuery((" Phoenix",), (" Phoenix", " Boston", " Salem"))},
        options=AnalyzeOptions(random_sets=3),
    )
    assert again.record == found.record
    base = {"options": AnalyzeOptions(), "tracing": TraceOptions()}
    keys = {
        request_key(TUCSON, "r", **base),
        request_key(TUCSON, "other", **base),
        request_key(replace(TUCSON, raw=True), "r", **base),
        request_key(TUCSON, "r", options=AnalyzeOptions(seed=1), tracing=TraceOptions()),
        request_key(TUCSON, "r", options=AnalyzeOptions(), tracing=TraceOptions(tau=0.01)),
        request_key(TUCSON, "r", **base, donor=WORCESTER),
        request_key(TUCSON, "r", **base, concepts={"state": ConceptQuery((" Arizona",))}),
        request_key(TUCSON, "r", **base, language_model=ScriptedModel(lambda _request: "")),
    }
    assert len(keys) == 8


def test_a_donor_of_another_length_is_refused(model) -> None:
    with pytest.raises(BadInput, match="9 and 7 tokens"):
        analyze(model, TUCSON, donor="the state containing Worcester is now", options=AnalyzeOptions(random_sets=0))


def test_swapping_every_neuron_of_both_graphs_would_bring_the_donors_answer(found) -> None:
    """The modules together carry the answer: some swap moves the donor's answer up, and the record says which."""
    donor = found.record.donor
    assert donor is not None
    assert donor.answer == " Boston"
    gains = [token.logit_change for swap in donor.swaps for token in swap.effect.tokens if token.token == " Boston"]
    assert max(gains) > 1.0


def test_a_saved_graph_is_analyzed_without_its_model(found) -> None:
    bare = analyze(None, found.graph).record
    assert len(bare.modules) >= 1
    assert all(one.zeroed is None and not one.promotes for one in bare.modules)
    assert isinstance(bare.compared, Absent)
    assert any("without the model" in note for note in bare.notes)


def test_a_graph_of_another_model_is_refused(model, found) -> None:
    other = replace(found.graph, summary=replace(found.graph.summary, model_revision="f" * 64))
    with pytest.raises(BadInput, match="was made by model"):
        analyze(model, other)
    with pytest.raises(BadInput, match="needs a model"):
        analyze(None, TUCSON)


def test_labels_stand_with_the_members_and_make_a_theme(model, found) -> None:
    def labels(graph):
        neurons = graph.nodes.filter(pl.col("kind") == "neuron").select("layer", "neuron").unique()
        from neuron_atlas.core.records import NeuronId

        return InstanceLabels(
            {(NeuronId(*row), sign): "promotes capitals: Phoenix" for row in neurons.iter_rows() for sign in (1, -1)}
        ), ""

    record = analyze(None, found.graph, labels=labels).record
    assert {one.theme for one in record.modules} == {"promotes capitals"}
    assert record.modules[0].members[0].does == "promotes capitals: Phoenix"


def test_a_failed_account_is_stated_and_the_rest_is_there(found) -> None:
    silent = ScriptedModel(lambda _request: NoReply("failed", "no answer after 5 tries"))
    record = analyze(None, found.graph, language_model=silent).record
    assert isinstance(record.synthesis, Absent)
    assert "no answer after 5 tries" in record.synthesis.reason
    assert record.modules


def test_relevance_to_a_difference_is_the_difference_of_relevances(model, found) -> None:
    """Discriminators are exact: R(A) - R(B) of two passes is the relevance that the graph of the contrast has."""
    both = answer_relevance(model, TUCSON)
    difference = both.relevance[0] - both.relevance[1]
    rows = found.graph.nodes.filter(pl.col("kind") == "neuron").select("layer", "position", "neuron", "relevance")
    for layer, position, neuron, relevance in rows.iter_rows():
        assert difference[layer, position, neuron] == pytest.approx(relevance, abs=1e-3)
    compared = found.record.compared
    assert isinstance(compared, Answers)
    assert [one.token for one in compared.answers] == [" Phoenix", " Boston"]


def test_a_study_counts_prompts_that_are_answered_on_both_sides(found) -> None:
    record = found.record
    wrong = record.model_copy(update={"donor": record.donor.model_copy(update={"contrast": 1.0})})
    summary = summarise_study("two", [record, wrong])
    assert (summary.prompts, summary.counted) == (2, 1)
    assert [one.concept for one in summary.concepts] == ["capital", "strongest"]
    strongest = summary.concepts[1]
    assert strongest.named_first is None
    assert strongest.brings_donor_answer is not None
    assert strongest.brings_donor_answer.n == 1


def test_pages_hold_no_script_and_escape_every_text(model, found) -> None:
    evil = "<script>alert(1)</script>&\"'"
    record = found.record.model_copy(
        update={"prompt": evil, "notes": (evil,), "tokens": (evil,) * len(found.record.tokens)}
    )
    page = Analysis(record, found.graph).to_html()
    graph = replace(found.graph, prompt=Prompt(evil), summary=replace(found.graph.summary, tokens=(evil,) * 9))
    for html in (page, compare(graph, graph).to_html(), Analysis(record, graph)._repr_html_()):
        assert "<script" not in html
        assert "&lt;script&gt;" in html
        assert not re.search(r"\son\w+=|style=|https?://(?!www\.w3\.org)", html.split("</style>")[-1])
    assert "default-src &#x27;none&#x27;" in page


def test_graphs_of_two_prompts_compare_and_the_record_reads_back(model, found) -> None:
    other = trace(model, Prompt(WORCESTER, contrast=(" Boston", " Phoenix")))
    compared = compare(found.graph, other, special_ids=model.special_ids)
    assert 0 < compared.record.similarities["neurons"] < 0.9  # pyright: ignore[reportOptionalOperand]
    count = compared.record.n_neurons
    assert count.both + count.a + count.b == compared.found.neurons.height
    assert ComparisonRecord.model_validate_json(compared.record.model_dump_json()) == compared.record
