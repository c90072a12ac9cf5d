"""Labeling by hand: what a person says is kept at once, survives, and a session goes on where it ended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from neuron_atlas.cli.labeling.interactive import interactive
from neuron_atlas.cli.labeling.label_data import LabelData
from neuron_atlas.core.labeling.evidence.render import render
from neuron_atlas.core.labeling.label_layer import label_layer
from neuron_atlas.core.labeling.labelers.rules import RulesLabeler
from neuron_atlas.core.labeling.session_state import SessionState
from neuron_atlas.defs.resources.atlas_resources import Resources
from neuron_atlas.errors import BadInput, ConfigurationChanged
from neuron_atlas.settings import Settings
from neuron_atlas_tests.core.labeling.conftest import small_world


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", _env_file=None)


@pytest.fixture
def room(settings: Settings) -> LabelData:
    """The small world of two layers, labeled by the rules."""
    evidence = {name: frame.lazy() for name, frame in small_world().items()}
    late = label_layer("output", 1, evidence=evidence, labels={}, labeler=RulesLabeler(), model_revision="r")
    stored = {name: frame.lazy() for name, frame in late.items()}
    return LabelData(Resources.from_settings(settings), evidence, stored, {})


def saying(*words: str) -> Callable[[str], str | None]:
    """A person who says these words and then leaves."""
    left = list(words)
    return lambda question: left.pop(0) if left else None


def kept(room: LabelData, layer: int = 1) -> list[tuple[object, ...]]:
    rows = room.resources.label_store.rows("output", layer)
    return [] if rows is None else rows.select("neuron", "polarity", "label").rows()


def proposed(room: LabelData, n: int = 1) -> list[tuple[int, int, str]]:
    """What the rules propose for the first neurons of layer 1."""
    first = [one.evidence for one in room.gathered("output", 1)[:n]]
    return [(e.neuron, e.polarity, a.label) for e, a in zip(first, RulesLabeler().label(first), strict=True)]


def test_what_is_accepted_is_kept_and_skipping_is_not(room: LabelData, settings: Settings) -> None:
    first, _, third = proposed(room, 3)
    interactive(room, settings, "output", [1], resume=False, ask=saying("a", "s", "A"))
    assert kept(room) == sorted([first, third])


def test_an_edited_label_is_checked_before_it_is_kept(
    room: LabelData, settings: Settings, capsys: pytest.CaptureFixture[str]
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
    interactive(room, settings, "output", [1], resume=False, ask=saying(*words))
    ((_, _, label),) = kept(room)
    assert label == "names of my cities"
    rows = room.resources.label_store.rows("output", 1)
    assert rows is not None
    assert rows["tokens"].to_list() == [["Oslo", "Rome"]]
    assert "not kept: Value error, links are not allowed" in capsys.readouterr().out


def test_going_back_and_changing_ones_mind(room: LabelData, settings: Settings) -> None:
    ((neuron, polarity, _),) = proposed(room)
    words = ("a", "p", "e", "another wording of it", "", "", "")
    interactive(room, settings, "output", [1], resume=False, ask=saying(*words))
    assert kept(room) == [(neuron, polarity, "another wording of it")]


def test_a_session_goes_on_where_it_ended(room: LabelData, settings: Settings) -> None:
    interactive(room, settings, "output", [1], resume=False, ask=saying("a", "s", "q"))
    interactive(room, settings, "output", [], resume=True, ask=saying("a"))
    state = SessionState.read(
        (settings.root / "sessions" / "output.json").read_text(), model_revision=room.resources.model.spec().revision
    )
    assert (state.at, state.totals()) == (3, {"accepted": 2, "edited": 0, "skipped": 1})
    assert len(kept(room)) == 2


def test_a_filter_shows_only_what_it_finds(room: LabelData, settings: Settings) -> None:
    """Only neurons that promote running words are offered."""
    interactive(room, settings, "output", [1], resume=False, ask=saying("f", "walking", *["a"] * 30))
    assert {"walking" in str(label) or "ing" in str(label) for _, _, label in kept(room)} == {True}
    assert 0 < len(kept(room)) < 20


def test_back_and_forth_goes_over_what_the_filter_hides(room: LabelData, settings: Settings) -> None:
    """From the second neuron that promotes running words back to the first one, not to the neuron in between."""
    found = [e.name for e in (one.evidence for one in room.gathered("output", 1)) if "walking" in render(e)]
    interactive(
        room, settings, "output", [1], resume=False, ask=saying("f", "walking", "s", "p", "e", "my words", "", "", "")
    )
    ((neuron, _, label),) = kept(room)
    assert (f"L1/N{neuron}", label) == (found[0][:-1], "my words")


def test_a_filter_that_finds_nothing_more_is_put_away(
    room: LabelData, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    (first,) = proposed(room)
    interactive(room, settings, "output", [1], resume=False, ask=saying("f", "no such words", "a"))
    assert kept(room) == [first]
    assert "no further neuron holds 'no such words'; the filter is off now" in capsys.readouterr().out


def test_asking_the_rules_again_says_that_they_do_not_change(
    room: LabelData, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    interactive(room, settings, "output", [1], resume=False, ask=saying("r", "q"))
    said = capsys.readouterr().out
    assert "rules always answers the same; edit instead" in said
    assert said.count("1 of 20") == 1


def test_a_persons_label_enters_the_next_run_and_the_next_layers_evidence(room: LabelData, settings: Settings) -> None:
    interactive(room, settings, "output", [1], resume=False, ask=saying("e", "my own words here", "", "", ""))
    ((neuron, polarity, _),) = kept(room)
    given = room.resources.label_store.rows("output", 1)
    again = label_layer(
        "output", 1, evidence=room.evidence, labels={}, labeler=RulesLabeler(), model_revision="r", given=given
    )["output_labels"]
    both = again.filter(pl.col("neuron") == neuron, pl.col("polarity") == polarity).sort("labeler")
    assert both["labeler"].to_list() == ["human", "rules"]
    early = [one.evidence for one in room.gathered("output", 0) if one.evidence.neuron == neuron]
    assert "my own words here" in str(early[0].model_dump())


def test_a_session_of_another_model_is_refused(room: LabelData, settings: Settings) -> None:
    interactive(room, settings, "output", [1], resume=False, ask=saying("q"))
    path = settings.root / "sessions" / "output.json"
    path.write_text(path.read_text().replace(room.resources.model.spec().revision, "other"))
    with pytest.raises(ConfigurationChanged, match="without --resume"):
        interactive(room, settings, "output", [1], resume=True, ask=saying())
    with pytest.raises(BadInput, match="no input session"):
        interactive(room, settings, "input", [1], resume=True, ask=saying())


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
