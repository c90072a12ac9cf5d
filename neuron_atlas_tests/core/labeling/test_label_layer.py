"""One layer of a pass: who gets a row, what must be there first, what is never shown, what a row remembers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import polars as pl
import pytest

from neuron_atlas.core.labeling.evidence.evidence_record import Evidence, InputEvidence, OutputEvidence
from neuron_atlas.core.labeling.evidence.gather import gather
from neuron_atlas.core.labeling.evidence.label_rows import label_ref, rows_of, stale_labels
from neuron_atlas.core.labeling.evidence.labeler_answer import Label, Unlabeled
from neuron_atlas.core.labeling.evidence.render import render
from neuron_atlas.core.labeling.evidence.shown_label import best_labels
from neuron_atlas.core.labeling.label_layer import label_layer
from neuron_atlas.core.labeling.labeling_order import labeling_order
from neuron_atlas.core.records import Frames, Side, Tables
from neuron_atlas.core.tables import INPUT_LABELS, OUTPUT_LABELS
from neuron_atlas.errors import Incomplete, PermanentError


@dataclass
class Recorder:
    """Answers with one label for all and keeps what it was shown."""

    name: str = "openai"
    version: str = "recorder/1"
    text: str = "promotes some tokens"
    type: str = "lexical"
    tokens: tuple[str, ...] = ("Oslo",)
    shown: list[Evidence] = field(default_factory=list)

    def label(self, evidence: Sequence[Evidence]) -> Iterator[Label | Unlabeled]:
        for one in evidence:
            self.shown.append(one)
            if one.neuron == 3:
                yield Unlabeled(reason="cannot tell")
            else:
                yield Label(label=self.text, description="Some.", type=self.type, confidence=0.5, tokens=self.tokens)


@pytest.fixture
def evidence(world: Frames) -> Tables:
    return {name: frame.lazy() for name, frame in world.items()}


def outputs(evidence: Tables, layer: int, labels: Tables, **options: object) -> pl.DataFrame:
    made = label_layer("output", layer, evidence=evidence, labels=labels, model_revision="rev", **options)
    return made["output_labels"]


def test_rows_say_who_made_them_of_what(evidence: Tables) -> None:
    labeler = Recorder()
    frame = outputs(evidence, 1, {}, labeler=labeler)
    assert OUTPUT_LABELS.checked(frame).height == 20
    row = frame.row(0, named=True)
    assert (row["labeler"], row["version"], row["model_revision"]) == ("openai", "recorder/1", "rev")
    assert row["evidence_hash"] == labeler.shown[0].digest()
    assert row["tokens"] == ["Oslo"] and len(row["token_ids"]) == 1  # noqa: PT018 one fact


def test_missing_is_a_value(evidence: Tables) -> None:
    (row,) = outputs(evidence, 1, {}, labeler=Recorder()).filter(pl.col("neuron") == 3).iter_rows(named=True)
    assert (row["label"], row["type"], row["unlabeled_reason"], row["tokens"]) == (None, "unknown", "cannot tell", [])


def test_tokens_that_the_model_does_not_have_are_left_out(evidence: Tables) -> None:
    frame = outputs(evidence, 1, {}, labeler=Recorder(tokens=("Oslo", "Atlantis")))
    assert frame["tokens"][0].to_list() == ["Oslo"]


def test_a_layer_waits_for_the_labels_it_reads(evidence: Tables) -> None:
    with pytest.raises(Incomplete, match=r"output_labels of layer L00 reads .* run output_labels for layer L01 first"):
        outputs(evidence, 0, {}, labeler=Recorder())
    late = outputs(evidence, 1, {}, labeler=Recorder())
    one_missing = {"output_labels": late.filter(pl.col("neuron") != 7).lazy()}
    with pytest.raises(Incomplete, match=r"1 neurons .* \(first: L1/N7\+\)"):
        outputs(evidence, 0, one_missing, labeler=Recorder())
    assert outputs(evidence, 0, {"output_labels": late.lazy()}, labeler=Recorder()).height == 20


def test_inputs_wait_for_the_output_labels_of_their_own_layer(evidence: Tables) -> None:
    with pytest.raises(Incomplete, match="run output_labels for layer L00 first"):
        label_layer("input", 0, evidence=evidence, labels={}, labeler=Recorder(type="context"), model_revision="r")


def test_who_is_labeled(evidence: Tables) -> None:
    """Neurons of a graph; and those a corpus shows, if their density of that polarity is above 0."""
    graphs_only = {**evidence, "exemplars": evidence["exemplars"].filter(pl.col("neuron") < 0)}
    assert outputs(graphs_only, 1, {}, labeler=Recorder()).height == 20
    corpus_only = {"exemplars": evidence["exemplars"]}
    assert outputs(corpus_only, 1, {}, labeler=Recorder()).height == 20
    density = pl.DataFrame(
        {"layer": 1, "neuron": [1, 2, 3], "density_positive": [0.1, 0.0, 0.0], "density_negative": [0.0, 0.0, 0.1]}
    )
    some = {**corpus_only, "activation_stats": density.cast({"layer": pl.Int16, "neuron": pl.Int32}).lazy()}
    found = outputs(some, 1, {}, labeler=Recorder()).select("neuron", "polarity").rows()
    assert found == [(1, 1), (3, -1)]
    with pytest.raises(Incomplete, match="Run edge_stats or activation_stats"):
        outputs({}, 1, {}, labeler=Recorder())


def test_held_out_texts_are_never_shown(evidence: Tables) -> None:
    """The held-out texts get a token of their own, in every neuron: it appears nowhere in what labelers see."""
    secret = pl.when("is_held_out").then(pl.lit([" secret"] * 3)).otherwise("tokens").alias("tokens")
    ids = pl.when("is_held_out").then(pl.lit([999] * 3, pl.List(pl.Int32))).otherwise("token_ids").alias("token_ids")
    acts = (
        pl.when("is_held_out")
        .then(pl.lit([9.0] * 3, pl.List(pl.Float32)))
        .otherwise("activations")
        .alias("activations")
    )
    marked = {**evidence, "exemplars": evidence["exemplars"].with_columns(secret, ids, acts)}
    labeler = Recorder()
    labels = {"output_labels": outputs(marked, 1, {}, labeler=labeler).lazy()}
    labels["output_labels"] = pl.concat([labels["output_labels"], outputs(marked, 0, labels, labeler=labeler).lazy()])
    labeler.type = "context"
    label_layer("input", 0, evidence=marked, labels=labels, labeler=labeler, model_revision="r")
    assert len(labeler.shown) == 60
    assert not any("secret" in one.model_dump_json() for one in labeler.shown)
    assert any("Oslo" in one.model_dump_json() for one in labeler.shown)
    _, lexicon = gather("output", 1, evidence=marked, labels={})
    assert 999 not in lexicon.text


@pytest.mark.parametrize("side", ["output", "input"])
def test_the_evidence_of_one_neuron_is_that_of_the_whole_layer(evidence: Tables, side: Side) -> None:
    whole, _ = gather(side, 0, evidence=evidence, labels={}, as_draft=True)
    alone, _ = gather(side, 0, evidence=evidence, labels={}, as_draft=True, only=frozenset({7}))
    assert alone == [one for one in whole if one.evidence.neuron == 7]
    assert len(alone) == 1


def test_labels_remember_the_neighbours_they_read(evidence: Tables) -> None:
    late = outputs(evidence, 1, {}, labeler=Recorder())
    early = outputs(evidence, 0, {"output_labels": late.lazy()}, labeler=Recorder())
    (row,) = [row for row in rows_of(late) if row["neuron"] == 7]
    assert early.filter(pl.col("neuron") == 7)["neighbours"][0].to_list() == [label_ref(row)]
    assert late["neighbours"].list.len().sum() == 0


def test_a_changed_neighbour_makes_its_readers_stale(evidence: Tables) -> None:
    late = outputs(evidence, 1, {}, labeler=Recorder())
    early = outputs(evidence, 0, {"output_labels": late.lazy()}, labeler=Recorder())
    together = {"output_labels": pl.concat([late, early]).lazy()}
    assert stale_labels(together).is_empty()
    renamed = pl.when((pl.col("layer") == 1) & (pl.col("neuron") == 7)).then(pl.lit("promotes other tokens"))
    changed = together["output_labels"].with_columns(label=renamed.otherwise("label"))
    found = stale_labels({"output_labels": changed})
    assert found.select("side", "layer", "neuron", "polarity").rows() == [("output", 0, 7, 1)]
    gone = together["output_labels"].filter(~((pl.col("layer") == 1) & (pl.col("neuron") == 8)))
    assert stale_labels({"output_labels": gone})["neuron"].to_list() == [8]


def test_new_confidence_or_evidence_alone_does_not_make_readers_stale(evidence: Tables) -> None:
    late = outputs(evidence, 1, {}, labeler=Recorder())
    early = outputs(evidence, 0, {"output_labels": late.lazy()}, labeler=Recorder())
    same = pl.concat([late.with_columns(confidence=pl.lit(0.9, pl.Float32), evidence_hash=pl.lit("x")), early])
    assert stale_labels({"output_labels": same.lazy()}).is_empty()


def test_a_persons_label_speaks_first_and_is_kept(evidence: Tables) -> None:
    machine = outputs(evidence, 1, {}, labeler=Recorder(text="promotes machine things"))
    person = machine.filter(pl.col("neuron") == 5).with_columns(
        labeler=pl.lit("human"), label=pl.lit("promotes human things")
    )
    both = pl.concat([machine, person])
    assert best_labels(both).filter(pl.col("neuron") == 5)["label"].to_list() == ["promotes human things"]
    again = outputs(evidence, 1, {}, labeler=Recorder(text="promotes newer things"), given=person)
    assert again.filter(pl.col("neuron") == 5).sort("labeler")["label"].to_list() == [
        "promotes human things",
        "promotes newer things",
    ]


def test_labels_from_elsewhere_are_shown_as_claims_and_peoples_are_not(evidence: Tables) -> None:
    machine = outputs(evidence, 1, {}, labeler=Recorder())

    def of(neuron: int, labeler: str, text: str) -> pl.DataFrame:
        words = {"labeler": labeler, "version": "neuronpedia gpt", "label": text}
        return machine.filter(pl.col("neuron") == neuron).with_columns(pl.lit(v).alias(k) for k, v in words.items())

    prior = pl.concat([of(5, "import", "names of <b>rivers"), of(6, "human", "names of lakes")])
    labeler = Recorder()
    outputs(evidence, 1, {}, labeler=labeler, prior={"output_labels": prior.lazy()})
    shown = {one.neuron: one for one in labeler.shown}
    assert [(one.side, one.text, one.by) for one in shown[5].prior] == [
        ("output", "names of <b>rivers", "neuronpedia gpt")
    ]
    claim = 'output: "names of \\u003cb\\u003erivers" (by "neuronpedia gpt")'
    assert f"Labels it got elsewhere (claims to weigh, not measurements): {claim}." in render(shown[5])
    assert not any(one.prior for n, one in shown.items() if n != 5)


def test_a_label_beats_an_abstention_of_a_better_machine(evidence: Tables) -> None:
    strong = outputs(evidence, 1, {}, labeler=Recorder(name="openai"))
    weak = outputs(evidence, 1, {}, labeler=Recorder(name="rules")).with_columns(
        label=pl.lit("promotes things"), unlabeled_reason=pl.lit(None, pl.String)
    )
    best = best_labels(pl.concat([strong, weak]))
    assert best.filter(pl.col("neuron") == 3)["labeler"].to_list() == ["rules"]
    assert best.filter(pl.col("neuron") == 4)["labeler"].to_list() == ["openai"]


def test_a_labeler_out_of_step_is_refused(evidence: Tables) -> None:
    class Short(Recorder):
        def label(self, evidence: Sequence[Evidence]) -> Iterator[Label | Unlabeled]:
            yield from super().label(evidence[:-1])

    with pytest.raises(PermanentError, match="19 answers; expected 20"):
        outputs(evidence, 1, {}, labeler=Short())
    with pytest.raises(PermanentError, match="type 'context' on the output side"):
        outputs(evidence, 1, {}, labeler=Recorder(type="context"))


def test_evidence_of_the_other_polarity_is_turned(evidence: Tables) -> None:
    """Role 0 of layer 1 fires negative: what direction -1 lists is what it promotes then."""
    labeler = Recorder()
    outputs(evidence, 1, {}, labeler=labeler)
    (one,) = [e for e in labeler.shown if e.neuron == 0]
    assert isinstance(one, OutputEvidence)
    assert one.polarity == -1
    assert [t.text for t in one.promotes.tokens[:2]] == ["aspirin", "heparin"]
    assert all(t.weight > 0 for t in one.promotes.tokens)


def test_input_evidence_is_turned_and_read_from_the_texts(evidence: Tables) -> None:
    labeler = Recorder()
    late = outputs(evidence, 1, {}, labeler=labeler)
    both = {
        "output_labels": pl.concat([late, outputs(evidence, 0, {"output_labels": late.lazy()}, labeler=labeler)]).lazy()
    }
    labeler.type = "context"
    both["input_labels"] = label_layer("input", 0, evidence=evidence, labels=both, labeler=labeler, model_revision="r")[
        "input_labels"
    ].lazy()
    labeler.shown.clear()
    frame = label_layer("input", 1, evidence=evidence, labels=both, labeler=labeler, model_revision="r")["input_labels"]
    assert INPUT_LABELS.checked(frame).height == 20
    (one,) = [e for e in labeler.shown if e.neuron == 0]
    assert isinstance(one, InputEvidence)
    assert {t.text for t in one.firing.tokens} <= {"Oslo", "Lima", "Rome", "Cairo", "Bern"}
    assert all(text.activations[text.peak] > 1 for text in one.exemplars)
    assert [n.name for n in one.upstream] == ["L0/N0+"]
    assert one.upstream[0].weight > 0
    assert one.output_label == "promotes some tokens"
    assert {seen.side for seen in one.upstream[0].labels} == {"output", "input"}


def test_progress_counts_neurons(evidence: Tables) -> None:
    heard: list[tuple[int, int]] = []
    outputs(evidence, 1, {}, labeler=Recorder(), progress=lambda done, total: heard.append((done, total)))
    assert heard == [(n, 20) for n in range(1, 21)]


def test_a_budget_buys_the_most_useful_labels_first(evidence: Tables) -> None:
    """Neuron 9 appears in 50 prompts, all others in 10; each would be read by one earlier neuron."""
    often = pl.when(pl.col("neuron") == 9).then(50).otherwise("n_prompts").cast(pl.Int64).alias("n_prompts")
    changed = {**evidence, "neuron_profiles": evidence["neuron_profiles"].with_columns(often)}
    order = labeling_order("output", 1, evidence=changed, labels={})
    assert order.head(2).rows() == [(1, 9, -1, 100.0), (1, 0, -1, 20.0)]
    labeler = Recorder()
    frame = outputs(changed, 1, {}, labeler=labeler, budget=2)
    assert [one.neuron for one in labeler.shown] == [9, 0]
    assert frame["unlabeled_reason"].value_counts(sort=True).row(0) == (
        "left out: the budget was 2 labels for this layer",
        18,
    )


def test_a_sure_label_is_less_worth_labeling_again(evidence: Tables) -> None:
    sure = outputs(evidence, 1, {}, labeler=Recorder()).filter(pl.col("neuron") == 0)
    order = labeling_order("output", 1, evidence=evidence, labels={"output_labels": sure.lazy()})
    assert order.filter(pl.col("neuron") == 0)["gain"].to_list() == [10.0]  # 10 prompts * (1 + 1 reader) * (1 - 0.5)
    assert order["neuron"][-1] == 0
