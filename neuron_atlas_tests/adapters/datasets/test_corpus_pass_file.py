"""The state of an unfinished pass: kept whole, given back only to the pass it is of, cleared when done."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from neuron_atlas.adapters.datasets.corpus_pass_file import PassFile


def state() -> dict[str, np.ndarray]:
    return {"top.peaks1": np.arange(6, dtype=np.float32).reshape(1, 2, 3), "n": np.array(7)}


def test_a_state_comes_back_to_its_own_pass(tmp_path: Path) -> None:
    file = PassFile(tmp_path / "pass.npz", every_s=0)
    assert file.load("mine") is None
    file.offer("mine", state)
    found = PassFile(tmp_path / "pass.npz").load("mine")
    assert found is not None
    assert set(found) == set(state())
    assert all(
        np.array_equal(found[name], value) and found[name].dtype == value.dtype for name, value in state().items()
    )
    assert file.load("another's") is None
    assert [p.name for p in tmp_path.iterdir()] == ["pass.npz"]
    file.clear()
    assert file.load("mine") is None


def test_it_is_not_saved_more_often_than_asked(tmp_path: Path) -> None:
    file = PassFile(tmp_path / "pass.npz", every_s=3600)
    file.offer("mine", state)
    assert not any(tmp_path.iterdir())


def test_a_damaged_file_is_a_pass_from_the_start(tmp_path: Path) -> None:
    (tmp_path / "pass.npz").write_bytes(b"PK\x03\x04 cut")
    assert PassFile(tmp_path / "pass.npz").load("mine") is None
    PassFile(tmp_path / "pass.npz", every_s=0).offer("mine", state)
    cut = (tmp_path / "pass.npz").read_bytes()[:-40]
    (tmp_path / "pass.npz").write_bytes(cut)
    assert PassFile(tmp_path / "pass.npz").load("mine") is None
