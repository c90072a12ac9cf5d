"""Tracing prompts of the demo model: what a graph holds, that it adds up, and what happens to prompts that cannot be traced."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import neuron_atlas
from neuron_atlas.adapters.graphs.shards import GraphShards
from neuron_atlas.adapters.subject_model.load import load_model
from neuron_atlas.core.attribution.trace import trace, trace_prompts
from neuron_atlas.core.records import AttributionGraph, Prompt, PromptSet, Quarantined, TraceOptions
from neuron_atlas.core.tables import EDGES, NODES, TARGETS
from neuron_atlas.errors import BadInput, PermanentError, UnknownName

FACT = "the capital of the state containing Bend is"


@pytest.fixture(scope="module")
def model():
    return load_model(str(Path(neuron_atlas.__file__).parent / "demo" / "small-world"), device="cpu")


@pytest.fixture(scope="module")
def graph(model) -> AttributionGraph:
    return trace(model, FACT)


class Watched:
    """The model, with something done to its recordings or memory."""

    def __init__(self, model, *, most: int | None = None, spoil=None) -> None:
        self._model, self._most, self._spoil = model, most, spoil
        self.batches: list[int] = []

    def __getattr__(self, name: str):
        return getattr(self._model, name)

    def record(self, token_ids):
        self.batches.append(len(token_ids))
        if self._most is not None and len(token_ids) > self._most:
            raise torch.OutOfMemoryError("no memory for so many")
        recordings = self._model.record(token_ids)
        if self._spoil is not None:
            self._spoil(recordings)
        return recordings


def test_the_frames_have_the_columns_of_their_tables(graph: AttributionGraph) -> None:
    for frame, table in ((graph.nodes, NODES), (graph.edges, EDGES), (graph.logits, TARGETS)):
        expected = {name: dtype for name, dtype in table.schema.items() if name != "prompt_id"}
        assert dict(frame.schema) == expected
        checked = table.checked(frame.with_columns(prompt_id=pl.lit("p")))
        assert checked.drop("prompt_id").equals(frame.select(list(expected))), "rows already stand in the table's order"


def test_the_model_answers_and_the_graph_says_what_it_is_of(graph: AttributionGraph) -> None:
    assert graph.logits["token"][0] == " Salem"
    assert graph.logits["probability"][0] > 0.9
    summary = graph.summary
    assert summary.tokens == ("<bos>", "the", " capital", " of", " the", " state", " containing", " Bend", " is")
    assert (summary.position, summary.goal, summary.rules, summary.dtype) == (8, "top_k", "relp/1", "float32")
    assert summary.goal_value == pytest.approx(graph.logits["logit"].sum(), rel=1e-5)
    assert summary.options == TraceOptions()
    assert summary.model_id == "small-world"


def test_nodes_are_embeddings_by_position_then_neurons_then_logits(graph: AttributionGraph) -> None:
    nodes = graph.nodes
    assert nodes["node"].to_list() == list(range(nodes.height))
    kinds = nodes["kind"].to_list()
    assert kinds == ["embedding"] * 9 + ["neuron"] * kinds.count("neuron") + ["logit"] * 5
    assert nodes["token_id"][:9].to_list() == list(graph.summary.token_ids)
    neurons = nodes.filter(kind="neuron")
    assert neurons.equals(neurons.sort("layer", "position", "neuron"))
    assert (neurons["relevance"].abs() >= 0.005 * abs(graph.summary.goal_value)).all()
    assert nodes.filter(kind="logit")["layer"].unique().to_list() == [6]


def test_kept_edges_error_and_bias_sum_to_every_targets_value(graph: AttributionGraph) -> None:
    inflow = graph.edges.group_by("target").agg(pl.col("weight").sum())
    targets = graph.nodes.filter(pl.col("kind") != "embedding")
    joined = targets.join(inflow, left_on="node", right_on="target", how="left").with_columns(
        pl.col("weight").fill_null(0.0)
    )
    total = (joined["weight"] + joined["bias"] + joined["error"]).to_numpy()
    np.testing.assert_allclose(total, joined["activation"].to_numpy(), rtol=1e-4)
    assert graph.summary.conservation_error < 1e-4


def test_edges_are_at_least_a_hundredth_of_their_targets_value_and_run_upwards(graph: AttributionGraph) -> None:
    nodes = graph.nodes.select("node", "layer", "position", "activation")
    edges = graph.edges.join(nodes, left_on="target", right_on="node").join(nodes, left_on="source", right_on="node")
    assert (edges["weight"].abs() >= 0.01 * edges["activation"].abs()).all()
    assert (edges["layer_right"] < edges["layer"]).all()
    assert (edges["position_right"] <= edges["position"]).all()


def test_direct_is_the_weight_of_the_edges_on_the_logits(model) -> None:
    graph = trace(model, FACT, contrast=("Salem", "Austin"), edge_tau=0.0)
    signs = dict(zip(graph.logits["node"], graph.logits["goal_weight"], strict=True))
    on_goal = graph.edges.filter(pl.col("target").is_in(list(signs))).with_columns(
        part=pl.col("weight") * pl.col("target").replace_strict(signs)
    )
    direct = on_goal.group_by("source").agg(pl.col("part").sum()).sort("source")
    expected = graph.nodes.filter(pl.col("node").is_in(direct["source"].implode()))["direct"]
    np.testing.assert_allclose(direct["part"].to_numpy(), expected.to_numpy(), rtol=1e-4, atol=1e-5)


def test_the_last_layers_relevance_is_all_direct_and_embeddings_hold_the_goal(graph: AttributionGraph) -> None:
    """The whole identity, with every neuron a node, is held in effects/test_direct_effects.py."""
    last = graph.nodes.filter(kind="neuron", layer=5)
    np.testing.assert_allclose(last["direct"], last["relevance"], rtol=1e-4)
    assert graph.nodes.filter(kind="embedding")["relevance"].sum() == pytest.approx(graph.summary.goal_value, rel=1e-4)


def test_other_rules_do_not_conserve_and_say_so(model) -> None:
    for rules in ("gradient", "half+qk"):
        graph = trace(model, "the capital of", rules=rules, top_n=20)
        assert graph.summary.rules == f"{rules}/1"
        assert "does not conserve" in graph.summary.note
        assert graph.summary.conservation_error > 1e-2
    frozen = trace(model, "the capital of", rules="gate-frozen", top_n=20)
    assert frozen.summary.conservation_error < 1e-4


def test_a_position_inside_the_prompt_is_the_last_of_what_it_sees(model) -> None:
    inside = trace(model, Prompt(FACT, position=5))
    cut = trace(model, "the capital of the state")
    assert inside.summary.position == 5
    assert inside.logits["logit"].to_list() == pytest.approx(cut.logits["logit"].to_list(), rel=1e-5)
    behind = inside.nodes.filter(kind="embedding", position=7)
    assert behind.select("activation", "relevance", "influence").row(0) == (1.0, 0.0, 1.0)
    neurons = inside.nodes.filter(kind="neuron")
    assert neurons["position"].max() == 5
    assert neurons["relevance"].to_list() == pytest.approx(
        cut.nodes.filter(kind="neuron")["relevance"].to_list(), rel=1e-3
    )


def test_answers_and_contrast_move_the_goal(model) -> None:
    answers = trace(model, Prompt(FACT, target_tokens=("Salem",)))
    assert answers.logits["token"].to_list() == [" Salem"]
    contrast = trace(model, Prompt(FACT, contrast=("Salem", "Austin")))
    first, second = contrast.logits["logit"]
    assert contrast.summary.goal_value == pytest.approx(first - second, rel=1e-5)
    assert contrast.nodes.filter(kind="logit")["relevance"].to_list() == pytest.approx([first, -second])


def test_centred_logits_and_directions_are_goals_too(model) -> None:
    centred = trace(model, FACT, centre_logits=True)
    assert centred.summary.conservation_error < 1e-4
    assert centred.summary.goal_value != pytest.approx(centred.logits["logit"].sum(), rel=1e-3)
    direction = np.zeros(model.spec.vocab_size, np.float32)
    direction[list(centred.logits["token_id"])] = 1.0
    assert trace(model, FACT, direction=direction).summary.goal_value == pytest.approx(
        centred.logits["logit"].sum(), rel=1e-4
    )


def test_trimming_keeps_the_edges(model) -> None:
    graph = trace(model, FACT, max_nodes=10)
    assert graph.summary.is_trimmed
    assert graph.nodes.filter(kind="neuron").height == 10
    assert graph.edges.height > 10


def test_the_same_prompts_give_the_same_bytes(model) -> None:
    prompts = [Prompt(f"the capital of {name} is") for name in ("Oregon", "Texas", "Ohio")]
    first, second = (list(trace_prompts(model, prompts, options=TraceOptions())) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert a.nodes.equals(b.nodes)
        assert a.edges.equals(b.edges)
        assert a.summary == b.summary


def test_company_changes_no_more_than_rounding(model, graph: AttributionGraph) -> None:
    prompts = [Prompt("the capital of"), Prompt(FACT), Prompt("the")]
    _, among, _ = trace_prompts(model, prompts, options=TraceOptions())
    assert among.nodes["neuron"].to_list() == graph.nodes["neuron"].to_list()
    np.testing.assert_allclose(among.nodes["relevance"], graph.nodes["relevance"], rtol=1e-3, atol=1e-4)


def test_a_resumed_set_of_prompts_ends_with_the_same_bytes(model, tmp_path: Path) -> None:
    names = ("Oregon", "Texas", "Ohio", "Florida", "Nevada", "Utah", "Maine")
    prompts = PromptSet("capitals", "domain", tuple(Prompt(f"the capital of {name} is") for name in names))

    def begin(folder: str) -> GraphShards:
        settings = {"prompt_set": prompts, "options": TraceOptions(), "model_revision": model.spec.revision}
        return GraphShards(tmp_path / folder, code_version="1", shard_prompts=3, **settings)

    unbroken, broken = begin("unbroken"), begin("broken")
    for batch in unbroken.batches():
        unbroken.add(list(trace_prompts(model, batch, options=TraceOptions())))
    second = list(broken.batches())[1]
    broken.add(list(trace_prompts(model, second, options=TraceOptions())))
    resumed = begin("broken")
    assert [prompt.text for prompt in resumed.missing()] == [prompts.prompts[i].text for i in (0, 1, 2, 6)]
    for batch in resumed.batches():
        resumed.add(list(trace_prompts(model, batch, options=TraceOptions())))
    for name, frame in unbroken.collect().items():
        assert resumed.collect()[name].equals(frame)


def test_a_bad_prompt_is_quarantined_with_its_reason_and_stops_no_other(model) -> None:
    prompts = [
        Prompt(FACT),
        Prompt(""),
        Prompt("x" * 1_000_000),
        Prompt("the \ud800 capital"),
        Prompt("the <eos> capital"),
        Prompt("the " * 500),
        Prompt(FACT, position=40),
        Prompt(FACT, target_tokens=("zzyzx",)),
        Prompt(FACT, contrast=("Salem", " Salem")),
        Prompt("the capital of"),
    ]
    done: list[tuple[int, int]] = []
    results = list(trace_prompts(model, prompts, options=TraceOptions(), progress=lambda *step: done.append(step)))
    assert [result.prompt for result in results] == prompts
    reasons = [result.reason if isinstance(result, Quarantined) else None for result in results]
    assert reasons[0] is None
    assert reasons[-1] is None
    for reason, word in zip(
        reasons[1:-1],
        (
            "empty",
            "1000000 characters",
            "surrogate",
            "control token",
            "tokens; the model's context",
            "position 40",
            "zzyzx",
            "both sides",
        ),
        strict=True,
    ):
        assert word in reason
    assert done[-1] == (10, 10)


def test_one_untraceable_prompt_raises_where_one_was_asked_for(model) -> None:
    with pytest.raises(BadInput, match=r"cannot be traced: the prompt is empty"):
        trace(model, "")


def test_numbers_that_are_not_finite_are_quarantined_with_their_place(model) -> None:
    def spoil(recordings) -> None:
        recordings[1].layers[2].activation[0, 17] = float("nan")

    prompts = [Prompt("the capital"), Prompt("the state"), Prompt("the city")]
    first, second, third = trace_prompts(Watched(model, spoil=spoil), prompts, options=TraceOptions())
    assert second == Quarantined(
        prompts[1], "a number is not finite: MLP activation of layer 2, position 0, neuron 17 is nan"
    )
    assert isinstance(first, AttributionGraph)
    assert isinstance(third, AttributionGraph)


def test_when_memory_runs_out_the_group_is_halved_and_the_graph_says_so(model) -> None:
    watched = Watched(model, most=2)
    prompts = [Prompt(f"the capital of {name} is") for name in ("Oregon", "Texas", "Ohio", "Florida", "Nevada")]
    results = list(trace_prompts(watched, prompts, options=TraceOptions()))
    assert watched.batches == [5, 3, 2, 1, 2]
    assert [result.prompt for result in results] == prompts
    assert results[0].summary.note.startswith("memory ran out; traced again with at most 2 prompts")
    whole = list(trace_prompts(model, prompts, options=TraceOptions()))
    for small, large in zip(results, whole, strict=True):
        np.testing.assert_allclose(small.nodes["relevance"], large.nodes["relevance"], rtol=1e-3, atol=1e-4)


def test_after_three_tries_without_memory_the_prompts_are_quarantined(model) -> None:
    watched = Watched(model, most=0)
    prompts = [Prompt("the capital"), Prompt(""), Prompt("the state")]
    first, empty, last = trace_prompts(watched, prompts, options=TraceOptions())
    assert watched.batches == [2, 1, 1, 1, 1]
    assert first.reason == last.reason == "memory ran out 3 times, last with 1 prompts at once"
    assert empty.reason == "the prompt is empty"


def test_an_error_that_every_prompt_shares_quarantines_each_and_the_log_has_it(model, caplog) -> None:
    def spoil(_recordings) -> None:
        raise RuntimeError("something else broke")

    broken = Watched(model, spoil=spoil)
    results = list(trace_prompts(broken, [Prompt("the capital"), Prompt("the state")], options=TraceOptions()))
    assert [result.reason for result in results] == ["an unexpected error: RuntimeError: something else broke"] * 2
    assert "Traceback" in caplog.text
    with pytest.raises(PermanentError, match="RuntimeError: something else broke"):
        trace(broken, "the capital")


def test_a_neuron_to_exclude_that_the_model_lacks_is_refused(model) -> None:
    with pytest.raises(BadInput, match="L99/N1"):
        trace(model, FACT, exclude=["L99/N1"])


def test_an_error_that_one_prompt_causes_quarantines_it_alone(model, caplog: pytest.LogCaptureFixture) -> None:
    poison = model.encode(Prompt("the state"))

    def spoil(recordings) -> None:
        if any(list(recording.token_ids) == poison for recording in recordings):
            raise TypeError("a case that nobody thought of\nwith details")

    prompts = [Prompt("the capital"), Prompt("the state"), Prompt("the city"), Prompt("")]
    first, second, third, empty = trace_prompts(Watched(model, spoil=spoil), prompts, options=TraceOptions())
    assert isinstance(first, AttributionGraph)
    assert isinstance(third, AttributionGraph)
    assert second.reason == "an unexpected error: TypeError: a case that nobody thought of"
    assert empty.reason == "the prompt is empty"
    assert "Traceback" in caplog.text
    (alone,) = trace_prompts(Watched(model, spoil=spoil), [Prompt("the state")], options=TraceOptions())
    assert alone == second


def test_answers_with_lone_surrogates_quarantine_their_prompts(model) -> None:
    prompts = [Prompt(FACT, target_tokens=("\ud800x",)), Prompt(FACT, contrast=(" Salem", "\udfff")), Prompt(FACT)]
    first, second, third = trace_prompts(model, prompts, options=TraceOptions())
    assert first.reason == second.reason == "the answer is not valid Unicode: lone surrogate at character 0"
    assert isinstance(third, AttributionGraph)


def test_bfloat16_gives_nearly_the_same_graph_and_tells_how_exact_it_is(graph: AttributionGraph) -> None:
    folder = Path(neuron_atlas.__file__).parent / "demo" / "small-world"
    rough = trace(load_model(str(folder), device="cpu", dtype="bfloat16"), FACT)
    assert rough.summary.dtype == "bfloat16"
    assert rough.summary.completeness == pytest.approx(graph.summary.completeness, abs=0.05)
    assert graph.summary.conservation_error < 1e-4 < rough.summary.conservation_error < 0.1


def test_options_are_checked_before_any_work(model) -> None:
    with pytest.raises(UnknownName, match="unknown rule set 'relq'"):
        trace(model, FACT, rules="relq")
    with pytest.raises(BadInput, match="not both"):
        trace(model, FACT, top_n=3, mass=0.5)
    with pytest.raises(BadInput, match="brings its own"):
        trace(model, Prompt(FACT), raw=True)


def test_a_number_that_would_move_if_attention_were_not_frozen(model) -> None:
    """Live query and key gradients change the summed relevance of the first layers; frozen, it equals the goal."""
    frozen = trace(model, "the capital of Oregon is", k=1)
    embeddings = frozen.nodes.filter(kind="embedding")["relevance"].sum()
    assert embeddings == pytest.approx(frozen.summary.goal_value, rel=1e-4)
    live = trace(model, "the capital of Oregon is", k=1, rules="half+qk")
    assert abs(live.nodes.filter(kind="embedding")["relevance"].sum() - live.summary.goal_value) > 0.1
