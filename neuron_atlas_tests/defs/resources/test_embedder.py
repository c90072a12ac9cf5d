"""The embedder by choice: whose server is asked, with whose key."""

from __future__ import annotations

from pathlib import Path

import pytest

from neuron_atlas.adapters.embedder import CachedEmbedder
from neuron_atlas.defs.resources.atlas_resources import Resources
from neuron_atlas.errors import BadInput
from neuron_atlas.settings import load_settings


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "NEURON_ATLAS_EMBEDDER_BASE_URL",
        "NEURON_ATLAS_EMBEDDER_API_KEY",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ({}, (None, "")),
        ({"OPENAI_API_KEY": "key"}, (None, "key")),
        ({"OPENAI_BASE_URL": "http://chat/v1", "OPENAI_API_KEY": "key"}, ("http://chat/v1", "key")),
        ({"EMBEDDER_BASE_URL": "http://own/v1", "OPENAI_API_KEY": "key"}, ("http://own/v1", "")),
        ({"EMBEDDER_BASE_URL": "http://own/v1", "EMBEDDER_API_KEY": "its"}, ("http://own/v1", "its")),
        ({"EMBEDDER_API_KEY": "its", "OPENAI_API_KEY": "key"}, (None, "its")),
    ],
)
def test_a_key_goes_to_the_server_it_was_given_for_and_to_no_other(
    given: dict[str, str], asked: tuple[str | None, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name if name.startswith("OPENAI") else f"NEURON_ATLAS_{name}", value)
    assert load_settings().embedder_server == asked


def test_an_embedder_on_a_server_is_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURON_ATLAS_EMBEDDER", "openai:tiny")
    with pytest.raises(BadInput, match="needs a key"):
        Resources.from_settings(load_settings()).embedder.load()
    monkeypatch.setenv("NEURON_ATLAS_EMBEDDER_BASE_URL", "http://127.0.0.1:9/v1")
    chosen = Resources.from_settings(load_settings()).embedder
    assert chosen.fingerprint(None) == "openai:tiny http://127.0.0.1:9/v1"
    embedder = chosen.load()  # nothing is asked yet
    assert isinstance(embedder, CachedEmbedder)
    assert embedder.embedder_id == "openai:tiny@127.0.0.1:9/v1"


def test_the_embedder_on_this_machine_has_its_name_alone() -> None:
    assert Resources.from_settings(load_settings()).embedder.fingerprint(None) == "all-MiniLM-L6-v2"
