"""The view over a model that can be worked out by eye (`conftest.py`). Tests named `reference_…` are each of a defect of the
published view and fail on code that has it."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from neuron_atlas.core.publication import filters as f
from neuron_atlas.core.publication.filters.neuron_facts import (
    LABEL_COLUMNS,
    MODULE_COLUMNS,
    NeuronFacts,
    no_quantiles,
)
from neuron_atlas.core.publication.search.label_records import text_to_embed
from neuron_atlas.core.publication.view import NeuronView
from neuron_atlas.core.publication.view.linter import average_linkage
from neuron_atlas.core.records import Edit, Turn
from neuron_atlas.errors import BadInput

ROWS = [
    (0, 0, 1, "output", "rules", "1", "counts words", None, [], "lexical", 0.9, "high"),
    (0, 0, 1, "output", "rules", "0", "an older label", None, [], "lexical", 0.9, "high"),
    (0, 0, 1, "output", "human", "1", "counts the words", None, [], "lexical", None, None),
    (0, 1, -1, "input", "rules", "1", "fires on long words", None, [], "token", 0.5, "low"),
    (1, 0, 1, "output", "rules", "1", "says how long", None, [], "lexical", 0.5, "low"),
]


def is_reader(name: str) -> bool:
    return name.startswith("L1/N0")


@pytest.fixture
def known(model) -> NeuronFacts:
    """Top limits 10, 4, 2 and bottom limits -4 of the first three neurons; L1/N1 has no quantiles."""
    quantiles = no_quantiles(2, 2)
    quantiles[8:, 0, 0], quantiles[8:, 0, 1], quantiles[8:, 1, 0] = 10.0, 4.0, 2.0
    for layer, neuron in ((0, 0), (0, 1), (1, 0)):
        quantiles[:8, layer, neuron] = -4.0
    modules = pl.DataFrame([(0, 0, "1.1", "counters"), (1, 0, "1.1", "counters")], schema=MODULE_COLUMNS, orient="row")
    return NeuronFacts(
        model.spec.revision, 2, 2, pl.DataFrame(ROWS, schema=LABEL_COLUMNS, orient="row"), quantiles, modules
    )


@pytest.fixture
def view(model, known) -> NeuronView:
    return NeuronView(model, known)


# ------------------------------------------------------------------------------------------------------------ conversation
def test_reference_every_message_is_seen_at_once(view) -> None:
    """Activations, filters and attributions were those of the text at construction, whatever was said since."""
    view.filter = f.Quantile(level=1e-3, tail="bottom") & f.Ids(items=(f.Item(layer=0, neuron=1),))
    with pytest.raises(BadInput, match="no text yet"):
        view.instances()
    assert view.send("a b", max_new_tokens=3) == " x xx xx"  # counts 2, 3, 4 less lengths 1, 1, 2
    before = (
        view.tokens,
        view.activations().shape,
        view.selection.count,
        view.attributions().shape,
        view.neurons().height,
    )
    assert before[1] == (2, len(view.tokens), 2)
    view.send("longword", max_new_tokens=1)
    assert view.turns[2:] == (Turn("user", "longword"), view.turns[3])
    assert len(view.tokens) > len(before[0])
    assert view.activations().shape == (2, len(view.tokens), 2)
    assert view.attributions().shape == view.activations().shape
    assert view.selection.count > before[2]
    assert {row["token"] for row in view.instances().iter_rows(named=True)} >= {" xxxxxxx"}


def test_reference_activations_are_held_once_in_single_precision(view) -> None:
    """Twice the width for all layers, neurons and tokens was 3.7 MB a token."""
    view.send("a b", max_new_tokens=1)
    found = view.activations()
    assert found.dtype == np.float32
    assert np.shares_memory(found, view.activations())


def test_nothing_is_computed_twice_for_one_state(view, model) -> None:
    view.send("a b", max_new_tokens=1)
    view.activations()
    before = model.passes
    view.filter = f.Polarity(polarity=1)
    for _ in range(3):
        view.instances(), view.neurons(), view.linter(), view.normalised()
    assert model.passes == before


def test_regenerating_replaces_the_answer_and_seeds_repeat(view) -> None:
    with pytest.raises(BadInput, match="nothing to answer"):
        view.regenerate()
    greedy = view.send("a b", max_new_tokens=2)
    drawn = view.regenerate(max_new_tokens=2, temperature=1.0, seed=2)
    assert drawn != greedy
    assert view.turns == (Turn("user", "a b"), Turn("assistant", drawn))
    assert view.regenerate(max_new_tokens=2, temperature=1.0, seed=2) == drawn
    assert view.regenerate(max_new_tokens=2) == greedy


def test_a_failed_message_leaves_the_conversation_as_it_was(view) -> None:
    view.send("a b", max_new_tokens=1)
    before = view.turns
    with pytest.raises(BadInput, match="refused"):
        view.send("refused")
    assert view.turns == before


def test_answers_come_in_pieces_that_add_up_and_may_be_begun(view) -> None:
    pieces: list[str] = []
    answer = view.send("a b", max_new_tokens=3, answer_prefix=" y", on_text=pieces.append)
    assert answer == " y" + "".join(pieces)
    assert len(pieces) == 3


def test_a_plain_text_is_read_and_written_on(model, known) -> None:
    view = NeuronView(model, known, text="a b")
    assert view.tokens == ("<s>", " x", " x")
    written = view.regenerate(max_new_tokens=2)
    assert view.text == f"a b{written}"
    assert len(view.tokens) == 5
    with pytest.raises(BadInput, match="plain text"):
        view.send("c")
    view.read("a b c d")
    assert view.text == "a b c d"
    view.clear()
    assert view.tokens == ()
    view.send("c", max_new_tokens=1)
    assert view.text is None


def test_a_system_message_stays(model, known) -> None:
    view = NeuronView(model, known, system="be short")
    assert view.reading is None
    view.send("a", max_new_tokens=1)
    assert view.turns[0] == Turn("system", "be short")
    view.clear()
    assert view.turns == (Turn("system", "be short"),)


# ------------------------------------------------------------------------------------------------------------------ looking
def test_instances_are_those_that_fire_with_the_polarity_of_the_filter(view) -> None:
    """`a bbb`: L0/N0 is 0, 1, 2; L0/N1 is 0, -1, -3; L1/N0 is 0, 0, -1."""
    view.read("a bbb")
    view.filter = f.Polarity(polarity=-1)
    rows = (
        view.instances(order="activation")
        .select("neuron_id", "position", "activation", "polarity", "normalised")
        .rows()
    )
    assert rows == [("L0/N1", 2, -3.0, -1, -0.75), ("L0/N1", 1, -1.0, -1, -0.25), ("L1/N0", 2, -1.0, -1, -0.25)]
    view.filter = f.Polarity(polarity=1) & f.Layers(last=0)
    assert view.instances().select("neuron_id", "position", "normalised").rows() == [
        ("L0/N0", 2, pytest.approx(0.2)),
        ("L0/N0", 1, pytest.approx(0.1)),
    ]
    assert view.instances(limit=1).height == 1
    normal = view.normalised()
    assert normal[0, 2, 1] == -0.75
    assert np.isnan(normal[:, 0]).all()  # a special token, which no corpus counted
    assert np.isnan(normal[1, :, 1]).all()  # no quantiles


def test_neurons_come_with_their_strongest_token_label_and_module(view) -> None:
    view.read("a bbb")
    rows = (
        view.neurons()
        .filter(pl.col("n_tokens") > 0)
        .select("neuron_id", "polarity", "n_tokens", "token", "label", "cluster")
        .rows()
    )
    assert rows == [
        ("L0/N1", -1, 2, " xxx", "fires on long words", None),
        ("L1/N0", -1, 1, " xxx", None, "1.1"),
        ("L0/N0", 1, 2, " xxx", "counts the words", "1.1"),
    ]


def test_reference_the_best_label_speaks_whatever_the_order_of_rows(known) -> None:
    """With several versions the last row won."""
    again = NeuronFacts(known.model_revision, 2, 2, known.descriptions.reverse(), known.quantiles, known.modules)
    for told in (known, again):
        assert told.best.filter(layer=0, neuron=0)["label"].to_list() == ["counts the words"]


def test_reference_a_neuron_without_quantiles_keeps_its_description(model) -> None:
    """Descriptions and quantiles were inner-joined."""
    bare = NeuronFacts(
        model.spec.revision,
        2,
        2,
        pl.DataFrame(ROWS, schema=LABEL_COLUMNS, orient="row"),
        no_quantiles(2, 2),
        MODULE_COLUMNS.to_frame(),
    )
    view = NeuronView(model, bare, text="a bbb")
    assert view.neurons().filter(pl.col("neuron_id") == "L0/N0")["label"].to_list() == ["counts the words", None]
    assert view.instances()["neuron_id"].to_list()[0] == "L0/N1"  # without quantiles the largest activations come first


def test_reference_attributions_are_signed_of_the_logit_and_know_their_goal(view) -> None:
    """They were |activation × gradient| of a probability, to the next token only, cached without the number asked for."""
    view.read("a bbb")
    one = view.attributions(target="x", position=-1)  # token 1 has weight 2 in the planted relevance
    assert one[0, 2, 1] == -3.0 * 2
    assert view.attributions(target="xx", contrast="x", position=-1)[0, 2, 1] == -3.0 * (3 - 2)
    early = view.attributions(position=1)  # the token that follows position 1 has length 3
    assert early[0, 1, 0] == 1.0 * 4
    assert (early[:, 2] == 0).all()
    assert np.array_equal(
        view.attributions(target="xxx"), view.attributions(target="xxx", position=1)
    )  # before it stands
    view.filter = f.Attribution(target="x", position=-1, top_k=1)
    assert view.instances().select("neuron_id", "position", "relevance").rows() == [("L0/N1", 2, -6.0)]
    view.filter = f.Attribution(target="x", position=-1, top_k=4)
    assert view.instances().height == 4
    assert view.selection.count == 4
    with pytest.raises(BadInput, match="outside the text's 3 tokens"):
        view.attributions(position=3)
    view.filter = f.EVERYTHING
    with pytest.raises(BadInput, match="needs a goal"):
        view.instances(order="relevance")


# ----------------------------------------------------------------------------------------------------------------- steering
def test_what_is_steered_is_held_at_a_share_of_its_own_tail(view) -> None:
    view.read("a b")
    clean = view.regenerate(max_new_tokens=1)
    done = view.steer(0.5, filter=f.Ids(items=(f.Item(layer=0, neuron=0, polarity=1),)))
    assert done.edits == (Edit(0, 0, 5.0),)
    assert (view.activations()[0, :, 0] == 5.0).all()
    assert view.regenerate(max_new_tokens=1) == " xxxx"  # 5 - 1
    view.clear_steering()
    assert view.steering == view.edits == ()
    assert view.regenerate(max_new_tokens=1) == clean
    flipped = view.steer(1.0, filter=f.Ids(items=(f.Item(layer=0, neuron=0, polarity=1),)), flip=True)
    assert flipped.edits == (Edit(0, 0, -4.0),)


def test_steering_a_token_leaves_the_others(view) -> None:
    view.read("a b c")
    done = view.steer(1.0, filter=f.Ids(items=(f.Item(layer=0, neuron=0, polarity=1, position=2),)))
    assert done.edits == (Edit(0, 0, 10.0, 2),)
    assert view.activations()[0, :, 0].tolist() == [0, 1, 10, 3]
    added = view.steer(
        0.1, filter=f.Tokens(first=1, last=1) & f.Neurons(last=0) & f.Layers(last=0) & f.Polarity(polarity=1), how="add"
    )
    assert added.edits == (Edit(0, 0, 1.0, 1, "add"),)
    scaled = view.steer(3.0, filter=f.Ids(items=(f.Item(layer=1, neuron=1),)), how="scale")
    assert scaled.edits == (Edit(1, 1, 3.0, None, "scale"),)


def test_an_open_polarity_is_pushed_the_way_it_fires(view) -> None:
    view.read("a bbb")  # L0/N1 fires negatively
    done = view.steer(1.0, filter=f.Ids(items=(f.Item(layer=0, neuron=1),)))
    assert done.edits == (Edit(0, 1, -4.0),)
    done = view.steer(
        0.5, filter=f.Ids(items=(f.Item(layer=0, neuron=1, position=2), f.Item(layer=0, neuron=0, position=2)))
    )
    assert set(done.edits) == {Edit(0, 1, -2.0, 2), Edit(0, 0, 5.0, 2)}


def test_reference_neurons_without_a_quantile_are_counted_not_dropped_in_silence(view) -> None:
    view.read("a b")
    done = view.steer(1.0, filter=f.Layers(first=1))
    assert (done.n_neurons, done.n_skipped) == (1, 1)
    with pytest.raises(BadInput, match="lack quantiles"):
        view.steer(1.0, filter=f.Ids(items=(f.Item(layer=1, neuron=1),)))
    with pytest.raises(BadInput, match="selects no neuron"):
        view.steer(1.0, filter=f.Or())
    with pytest.raises(BadInput, match="flip the tail"):
        view.steer(-1.0, filter=f.EVERYTHING)
    off = view.steer(0.0, filter=f.Ids(items=(f.Item(layer=1, neuron=1),)))  # off is off, without any quantile
    assert off.edits == (Edit(1, 1, 0.0),)


def test_too_many_edits_are_refused(view, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuron_atlas.core.publication.view.steering.MAX_EDITS", 2)
    view.read("a b")
    with pytest.raises(BadInput, match="narrow it"):
        view.steer(0.0, filter=f.EVERYTHING)


# --------------------------------------------------------------------------------------------------------- saving, loading
def test_a_saved_view_comes_back_whole(view, model, known, tmp_path) -> None:
    view.send("a b", max_new_tokens=2)
    view.filter = f.Description(keyword="words") & ~f.Tokens(first=0, last=0)
    view.steer(0.5)
    view.steer(0.0, filter=f.Ids(items=(f.Item(layer=1, neuron=0, polarity=1),)))
    again = NeuronView.load(view.save(tmp_path / "deep" / "view.json"), model, known)
    assert (again.turns, again.text, again.filter, again.steering) == (
        view.turns,
        view.text,
        view.filter,
        view.steering,
    )
    assert again.instances().equals(view.instances())
    plain = NeuronView(model, known, text="a bbb")
    plain.regenerate(max_new_tokens=1)
    assert NeuronView.load(plain.save(tmp_path / "plain.json"), model, known).text == plain.text


def test_reference_another_models_knowledge_or_view_is_refused(view, model, known, tmp_path) -> None:
    """Nothing said which model or revision a row was of."""
    path = view.save(tmp_path / "view.json")
    for change, complaint in (
        ({"model_revision": "other"}, "its neurons are others"),
        ({"version": 2}, "reads version 1"),
        ({"unknown": 1}, "not a saved view: unknown"),
        ({"filter": {"kind": "nothing"}}, "not a saved view: filter"),
    ):
        path.write_text(json.dumps({**json.loads(view.to_json()), **change}))
        with pytest.raises(BadInput, match=complaint):
            NeuronView.load(path, model, known)
    with pytest.raises(BadInput, match="no saved view can be read"):
        NeuronView.load(tmp_path / "nowhere.json", model)
    with pytest.raises(BadInput, match="open the atlas of this model"):
        NeuronView(model, NeuronFacts.empty(model_revision="other", n_layers=2, n_neurons=2))


def test_a_view_of_a_model_of_which_nothing_is_known(model) -> None:
    view = NeuronView(model, text="a bbb")
    assert view.instances(limit=1)["neuron_id"].to_list() == ["L0/N1"]
    assert view.linter() == []
    view.filter = f.Description(keyword="words")
    assert view.instances().height == 0


def test_labels_are_those_that_the_filter_found_neurons_by(view) -> None:
    view.read("a bbb cc d")
    older = f.Description(keyword="older")
    for wanted, label in (
        (f.Layers(first=0, last=0) & f.Polarity(polarity=1), "counts the words"),  # a person's is the best
        (older, "an older label"),
        (older & f.Polarity(polarity=1), "an older label"),
        (~f.Description(keyword="long"), "counts the words"),
    ):
        view.filter = wanted & f.Ids(items=(f.Item(layer=0, neuron=0, polarity=1),))
        assert view.instances()["label"].unique().to_list() == view.neurons()["label"].to_list() == [label]


# ------------------------------------------------------------------------------------------------------------------- linter
def test_average_linkage_by_hand() -> None:
    """Points 0, 1, 2 on a line at 0, 1, 3 and two at 10, 10.5: {0, 1} join at 1, {3, 4} at 0.5, 2 joins at (3 + 2) / 2 = 2.5."""
    points = np.array([0.0, 1.0, 3.0, 10.0, 10.5])
    distances = np.abs(points[:, None] - points)
    groups = [group.tolist() for group in average_linkage(distances, far=2.6)]
    assert groups == [[0, 1, 2], [3, 4]]
    assert [g.tolist() for g in average_linkage(distances, far=2.5)] == [[0, 1], [2], [3, 4]]
    assert [g.tolist() for g in average_linkage(distances, far=100.0)] == [[0, 1, 2, 3, 4]]
    assert [g.tolist() for g in average_linkage(distances[:1, :1], far=1.0)] == [[0]]


class ByFirstWord:
    """An embedder whose vectors are the first word's place; it counts the texts it is given."""

    embedder_id, dimension = "first-word", 4

    def __init__(self) -> None:
        self.embedded = 0

    def embed(self, texts) -> np.ndarray:
        self.embedded += len(texts)
        return np.eye(4, dtype=np.float32)[[["counts", "long", "says", "x"].index(t.split()[0]) for t in texts]]


class EmbeddedLabels:
    """A `LabelSimilarity` that embeds every label once, when its vector is first needed."""

    def __init__(self, embedder: ByFirstWord) -> None:
        self._embedder, self._vectors = embedder, {}

    def similarities(self, question: str, labels: pl.Series) -> np.ndarray:
        return self.vectors(labels.to_list()) @ self._embedder.embed([question])[0]

    def vectors(self, labels) -> np.ndarray:
        fresh = [label for label in dict.fromkeys(labels) if label not in self._vectors]
        if fresh:
            self._vectors |= zip(fresh, self._embedder.embed([text_to_embed(label) for label in fresh]), strict=True)
        return np.stack([self._vectors[label] for label in labels])


def test_the_linter_groups_by_module_and_meaning_and_names_both(model, known) -> None:
    embedder = ByFirstWord()
    told = NeuronFacts(**{**known.__dict__, "meaning": EmbeddedLabels(embedder)})
    view = NeuronView(model, told, text="a bbb cc d")
    findings = view.linter(least=1)
    assert [(x.by, x.name, x.path) for x in findings if x.by == "module"] == [("module", "counters", "1.1")]
    assert {x.name for x in findings if x.by == "meaning"} == {
        "counts the words",
        "fires on long words",
        "says how long",
    }
    assert all(is_reader(n) or n.startswith("L0/N0") for n in findings[0].neurons)
    assert view.linter(least=1) == findings
    assert embedder.embedded == 3
    assert view.linter(least=3) == [x for x in findings if len(x.neurons) >= 3]
