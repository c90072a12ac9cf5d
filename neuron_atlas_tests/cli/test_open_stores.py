"""Which labels a search on the command line means, where the database holds several."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from neuron_atlas.cli.open_stores import default_label_set
from neuron_atlas.defs.resources.atlas_resources import Resources
from neuron_atlas.settings import load_settings


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Model and version of the settings' labels."""
    monkeypatch.setenv("NEURON_ATLAS_HOME", str(tmp_path))
    resources = Resources.from_settings(load_settings())
    return resources.model.spec().revision, resources.labeler.version()


def database(*held: tuple[str, str]) -> SimpleNamespace:
    return SimpleNamespace(label_sets=lambda: [SimpleNamespace(revision=r, version=v) for r, v in held])


def test_of_several_label_sets_the_settings_own_is_meant(own: tuple[str, str]) -> None:
    older = (own[0], "rules rules/0")
    assert default_label_set(database(older, own), None, None) == own
    assert default_label_set(database(older, own), None, "rules rules/0") == (None, "rules rules/0")
    assert default_label_set(database(older, own), "Llama", None) == ("Llama", None)


def test_where_there_is_no_choice_or_none_of_ones_own_the_database_decides(own: tuple[str, str]) -> None:
    assert default_label_set(database(("other", "v1")), None, None) == (None, None)
    assert default_label_set(database(("other", "v1"), ("other", "v2")), None, None) == (None, None)
