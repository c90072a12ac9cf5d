"""Vectors that are kept: each text is computed once, an interruption costs a batch, embedders do not mix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from neuron_atlas.adapters.embedder import CachedEmbedder
from neuron_atlas.adapters.embedder import vector_cache as remembered
from neuron_atlas.errors import DamagedData


class Counting:
    """A text's vector is its length and its first letter; remembers what it was asked, and fails when told to."""

    dimension = 2

    def __init__(self, embedder_id: str = "counting@1", *, fails_at: int | None = None) -> None:
        self.embedder_id = embedder_id
        self.asked: list[str] = []
        self._fails_at = fails_at

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self._fails_at is not None and len(self.asked) >= self._fails_at:
            raise KeyboardInterrupt
        self.asked += texts
        return np.array([[len(text), ord(text[0])] for text in texts], np.float32)


def test_a_text_is_computed_once_ever(tmp_path: Path) -> None:
    first, second = Counting(), Counting()
    texts = ["a", "bb", "a", "ccc"]
    one = CachedEmbedder(first, tmp_path / "v.sqlite").embed(texts)
    two = CachedEmbedder(second, tmp_path / "v.sqlite").embed([*texts, "d"])
    assert first.asked == ["a", "bb", "ccc"]
    assert second.asked == ["d"]
    assert one.tobytes() == two[:4].tobytes() == Counting().embed(texts).tobytes()


def test_an_interruption_costs_the_batch_it_fell_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "BATCH", 2)
    with pytest.raises(KeyboardInterrupt):
        CachedEmbedder(Counting(fails_at=4), tmp_path / "v.sqlite").embed(["a", "b", "c", "d", "e"])
    again = Counting()
    CachedEmbedder(again, tmp_path / "v.sqlite").embed(["a", "b", "c", "d", "e"])
    assert again.asked == ["e"]


def test_embedders_do_not_share_vectors(tmp_path: Path) -> None:
    CachedEmbedder(Counting("one@1"), tmp_path / "v.sqlite").embed(["a"])
    other = Counting("one@2")
    CachedEmbedder(other, tmp_path / "v.sqlite").embed(["a"])
    assert other.asked == ["a"]


def test_a_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "v.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(
        DamagedData, match=r"v\.sqlite cannot be used: .*Remove it; the vectors are then computed again"
    ):
        CachedEmbedder(Counting(), tmp_path / "v.sqlite").embed(["a"])


def test_no_texts_no_vectors(tmp_path: Path) -> None:
    assert CachedEmbedder(Counting(), tmp_path / "v.sqlite").embed([]).shape == (0, 2)
