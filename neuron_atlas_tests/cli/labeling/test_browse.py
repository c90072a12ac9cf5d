"""Looking through the labels of an atlas, one key at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from neuron_atlas.adapters.atlas_duckdb import build_atlas
from neuron_atlas.cli.labeling.browse import browse
from neuron_atlas.settings import Settings
from neuron_atlas_tests.adapters.atlas_duckdb.conftest import FACTS, hand_made, table_of


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose atlas is the hand-made one: output labels of L0/N2, L1/N3 and L1/N5, an input label of L1/N3."""
    made = Settings(home=tmp_path / "home", _env_file=None)
    tables = hand_made()
    tables["exemplars"] = []
    tables["neuron_profiles"] = [{**row, "domain_z": 3.0} for row in tables["neuron_profiles"]]
    build_atlas(made.atlas, {name: table_of(name, rows) for name, rows in tables.items()}, facts=FACTS)
    return made


def saying(*words: str) -> Callable[[str], str | None]:
    left = list(words)
    return lambda question: left.pop(0) if left else None


def test_keys_lead_from_label_to_label(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    browse(settings, "output", saying("b", "n", "g", "L1/N3", "p", "q"))
    said = capsys.readouterr().out
    assert "output labels, 1 of " in said
    assert "that is the first one" in said
    assert "output labels, 2 of " in said
    assert "input labels, 1 of 1" in said


def test_what_is_not_there_is_said(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    browse(settings, "input", saying("g", "L0/N2", "l", "0", "x", "n", "q"))
    said = capsys.readouterr().out
    assert "L0/N2 has no input label" in said
    assert "no input label in layer '0'" in said
    assert "expected one of n b r g l p q" in said
    assert "that was the last one" in said
