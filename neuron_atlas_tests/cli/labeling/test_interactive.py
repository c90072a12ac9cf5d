"""Labeling by hand: what a person says is kept at once, survives, and a session goes on where it ended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from neuron_atlas.cli.labeling.interactive import label_by_hand
from neuron_atlas.cli.labeling.label_data import LabelData
from neuron_atlas.core.labeling.evidence.render import render
from neuron_atlas.core.labeling.hand_labeling_state import SessionState
from neuron_atlas.core.labeling.label_layer import label_layer
from neuron_atlas.core.labeling.labelers.rules import RulesLabeler
from neuron_atlas.defs.resources.atlas_resources import Resources
from neuron_atlas.errors import BadInput, ConfigurationChanged
from neuron_atlas.settings import Settings
from neuron_atlas_tests.core.labeling.conftest import small_world


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", _env_file=None)


@pytest.fixture
def data(settings: Settings) -> LabelData:
    """The small world of two layers, labeled by the rules."""
    evidence = {name: frame.lazy() for name, frame in small_world().items()}
    late = label_layer("output", 1, evidence=evidence, labels={}, labeler=RulesLabeler(), model_revision="r")
    stored = {name: frame.lazy() for name, frame in late.items()}
    return LabelData(Resources.from_settings(settings), evidence, stored, {})


def saying(*words: str) -> Callable[[str], str | None]:
    """A person who says these words and then leaves."""
    left = list(words)
    return lambda question: left.pop(0) if left else None


def kept(data: LabelData, layer: int = 1) -> list[tuple[object, ...]]:
    rows = data.resources.label_store.rows("output", layer)
    return [] if rows is None else rows.select("neuron", "polarity", "label").rows()


def proposed(data: LabelData, n: int = 1) -> list[tuple[int, int, str]]:
    """What the rules propose for the first neurons of layer 1."""
    first = [one.evidence for one in data.gathered("output", 1)[:n]]
    return [(e.neuron, e.polarity, a.label) for e, a in zip(first, RulesLabeler().label(first), strict=True)]


def test_what_is_accepted_is_kept_and_skipping_is_not(data: LabelData, settings: Settings) -> None:
    first, _, third = proposed(data, 3)
    label_by_hand(data, settings, "output", [1], resume=False, ask=saying("a", "s", "A"))
    assert kept(data) == sorted([first, third])


def test_an_edited_label_is_checked_before_it_is_kept(
    data: LabelData, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "e",
        "see https://evil.example",
        "",
        "",
        "",
        "e",
        "names of my cities",
        "Raises cities.",
        "Oslo, Rome",
        "semantic",
    )
    label_by_hand(data, settings, "output", [1], resume=False, ask=saying(*words))
    ((_, _, label),) = kept(data)
    assert label == "names of my cities"
    rows = data.resources.label_store.rows("output", 1)
    assert rows is not None
    assert rows["tokens"].to_list() == [["Oslo", "Rome"]]
    assert "not kept: Value error, links are not allowed" in capsys.readouterr().out


def test_going_back_and_changing_ones_mind(data: LabelData, settings: Settings) -> None:
    ((neuron, polarity, _),) = proposed(data)
    words = ("a", "p", "e", "another wording of it", "", "", "")
    label_by_hand(data, settings, "output", [1], resume=False, ask=saying(*words))
    assert kept(data) == [(neuron, polarity, "another wording of it")]


def test_a_session_goes_on_where_it_ended(data: LabelData, settings: Settings) -> None:
    label_by_hand(data, settings, "output", [1], resume=False, ask=saying("a", "s", "q"))
    label_by_hand(data, settings, "output", [], resume=True, ask=saying("a"))
    state = SessionState.read(
        (settings.root / "sessions" / "output.json").read_text(), model_revision=data.resources.model.spec().revision
    )
    assert (state.at, state.totals()) == (3, {"accepted": 2, "edited": 0, "skipped": 1})
    assert len(kept(data)) == 2


def test_a_filter_shows_only_what_it_finds(data: LabelData, settings: Settings) -> None:
    """Only neurons that promote running words are offered."""
    label_by_hand(data, settings, "output", [1], resume=False, ask=saying("f", "walking", *["a"] * 30))
    assert {"walking" in str(label) or "ing" in str(label) for _, _, label in kept(data)} == {True}
    assert 0 < len(kept(data)) < 20


def test_back_and_forth_goes_over_what_the_filter_hides(data: LabelData, settings: Settings) -> None:
    """From the second neuron that promotes running words back to the first one, not to the neuron in between."""
    found = [e.name for e in (one.evidence for one in data.gathered("output", 1)) if "walking" in render(e)]
    label_by_hand(
        data, settings, "output", [1], resume=False, ask=saying("f", "walking", "s", "p", "e", "my words", "", "", "")
    )
    ((neuron, _, label),) = kept(data)
    assert (f"L1/N{neuron}", label) == (found[0][:-1], "my words")


def test_a_filter_that_finds_nothing_more_is_put_away(
    data: LabelData, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    (first,) = proposed(data)
    label_by_hand(data, settings, "output", [1], resume=False, ask=saying("f", "no such words", "a"))
    assert kept(data) == [first]
    assert "no further neuron matches 'no such words'; the filter is now off" in capsys.readouterr().out


def test_asking_the_rules_again_says_that_they_do_not_change(
    data: LabelData, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    label_by_hand(data, settings, "output", [1], resume=False, ask=saying("r", "q"))
    said = capsys.readouterr().out
    assert "rules always gives the same answer; edit it instead" in said
    assert said.count("1 of 20") == 1


def test_a_persons_label_enters_the_next_run_and_the_next_layers_evidence(data: LabelData, settings: Settings) -> None:
    label_by_hand(data, settings, "output", [1], resume=False, ask=saying("e", "my own words here", "", "", ""))
    ((neuron, polarity, _),) = kept(data)
    given = data.resources.label_store.rows("output", 1)
    again = label_layer(
        "output", 1, evidence=data.evidence, labels={}, labeler=RulesLabeler(), model_revision="r", given=given
    )["output_labels"]
    both = again.filter(pl.col("neuron") == neuron, pl.col("polarity") == polarity).sort("labeler")
    assert both["labeler"].to_list() == ["human", "rules"]
    early = [one.evidence for one in data.gathered("output", 0) if one.evidence.neuron == neuron]
    assert "my own words here" in str(early[0].model_dump())


def test_a_session_of_another_model_is_refused(data: LabelData, settings: Settings) -> None:
    label_by_hand(data, settings, "output", [1], resume=False, ask=saying("q"))
    path = settings.root / "sessions" / "output.json"
    path.write_text(path.read_text().replace(data.resources.model.spec().revision, "other"))
    with pytest.raises(ConfigurationChanged, match="without --resume"):
        label_by_hand(data, settings, "output", [1], resume=True, ask=saying())
    with pytest.raises(BadInput, match="no input session"):
        label_by_hand(data, settings, "input", [1], resume=True, ask=saying())


def test_a_pass_goes_through_its_layers_in_order() -> None:
    state = SessionState.begin("r", "output", [0, 2, 1])
    assert state.layers == (2, 1, 0)
    assert state.moved(-1, 5) == state
    later = state.moved(1, 1)
    assert later is not None
    assert (later.layer, later.at) == (1, 0)
    back = later.moved(-1, 9)
    assert back is not None
    assert (back.layer, back.at) == (2, -1)
    last = state.model_copy(update={"layer": 0, "at": 4})
    assert last.moved(1, 5) is None
    assert SessionState.begin("r", "input", [2, 0]).layers == (0, 2)
