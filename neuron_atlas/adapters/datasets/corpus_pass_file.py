"""The state of an unfinished pass over a corpus, as one file of arrays: replaced in one step, read without running anything."""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from neuron_atlas.adapters.files import replace_durably
from neuron_atlas.core.aggregation.corpora.corpus_pass import State

EVERY_S = 60.0
"""Seconds between two savings: what an interruption costs, beside the saving itself (a second or two for a gigabyte)."""


class PassFile:
    """A `SavedPass` in a file; `clear` it when what the pass was for is made."""

    def __init__(self, path: Path, *, every_s: float = EVERY_S) -> None:
        self.path = path
        self._every_s = every_s
        self._last = time.monotonic()

    def load(self, key: str) -> State | None:
        """The state saved under this key; None without a file, or when it is another pass's or cannot be read."""
        try:
            with self.path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                state = dict(file)
        except (OSError, EOFError, ValueError, zipfile.BadZipFile):
            return None
        return state if str(state.pop("key", "")) == key else None

    def offer(self, key: str, state: Callable[[], State]) -> None:
        """Save the state, if the last time is long enough ago."""
        if time.monotonic() - self._last < self._every_s:
            return
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as stream:
                np.savez(stream, allow_pickle=False, key=np.array(key), **state())
            replace_durably(temporary, self.path)
        finally:
            temporary.unlink(missing_ok=True)
        self._last = time.monotonic()

    def clear(self) -> None:
        """Forget the state."""
        self.path.unlink(missing_ok=True)
