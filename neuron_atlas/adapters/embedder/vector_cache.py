"""A cache of embeddings: each text is embedded once, and its vector kept in a SQLite file beside the weights.

Labels are embedded for the atlas file and for the search database, and again at every load after one of them changed; an import
that was interrupted goes on where it was; and a paid embedder is not paid twice. Vectors are kept bit for bit, by embedder and
text, and each batch is on disk before the next one is asked for.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuron_atlas.adapters.sqlite_files import open_sqlite, write_transaction
from neuron_atlas.core.ports import Embedder
from neuron_atlas.errors import DamagedData

BATCH = 1024
"""Texts computed, and then kept, at a time."""
ASKED = 500
"""Texts looked up in one statement."""
_TABLE = (
    "create table if not exists vectors (embedder text, text blob, vector blob not null, primary key (embedder, text))"
)
_KEPT = "select length(vector) from vectors where embedder = ? limit 1"


class CachedEmbedder:
    """Fulfils `ports.Embedder`: another embedder, and a file of what it computed, which several processes may share."""

    def __init__(self, embedder: Embedder, path: Path) -> None:
        self.path = path
        self._embedder = embedder
        self._dimension: int | None = None

    @property
    def embedder_id(self) -> str:
        """The wrapped embedder's."""
        return self._embedder.embedder_id

    @property
    def dimension(self) -> int:
        """Length of the vectors kept, else the wrapped embedder's: so one on a server need not be asked."""
        if self._dimension is None:
            with self._open() as connection:
                kept = connection.execute(_KEPT, [self.embedder_id]).fetchone()
            self._dimension = self._embedder.dimension if kept is None else int(kept[0]) // 4
        return self._dimension

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """[len(texts), dimension], L2-normalised. Raises `DamagedData` when the file cannot be read, or when vectors have another
        length than those kept."""
        keys = {text: hashlib.sha256(text.encode()).digest() for text in texts}
        with self._open() as connection:
            known = self._known(connection, list(keys.values()))
            missing = [text for text, key in keys.items() if key not in known]
            for start in range(0, len(missing), BATCH):
                batch = missing[start : start + BATCH]
                rows = list(
                    zip((keys[text] for text in batch), self._checked(self._embedder.embed(batch)), strict=True)
                )
                known.update(rows)
                with write_transaction(connection, self.path):
                    connection.executemany(
                        "insert or ignore into vectors values (?, ?, ?)",
                        [(self.embedder_id, key, vector.astype("<f4").tobytes()) for key, vector in rows],
                    )
        vectors = np.empty((len(texts), self.dimension), np.float32)
        for row, text in enumerate(texts):
            vectors[row] = known[keys[text]]
        return vectors

    def _checked(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Fresh vectors, as long as those kept."""
        if vectors.shape[1] != self.dimension:
            raise DamagedData(
                f"{self.embedder_id} gave vectors of {vectors.shape[1]} numbers; those in {self.path} have {self.dimension}. It is "
                "another model now: give it another name, or remove that file and load the labels again"
            )
        return vectors

    def _known(self, connection: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, NDArray[np.float32]]:
        found: dict[bytes, NDArray[np.float32]] = {}
        for start in range(0, len(keys), ASKED):
            asked = keys[start : start + ASKED]
            marks = ", ".join("?" * len(asked))
            rows = connection.execute(
                f"select text, vector from vectors where embedder = ? and text in ({marks})", [self.embedder_id, *asked]
            )
            found |= {key: np.frombuffer(vector, "<f4") for key, vector in rows if len(vector) == 4 * self.dimension}
        return found

    @contextmanager
    def _open(self) -> Generator[sqlite3.Connection]:
        try:
            with closing(open_sqlite(self.path)) as connection:
                connection.execute(_TABLE)
                yield connection
        except sqlite3.DatabaseError as error:
            raise DamagedData(
                f"{self.path} cannot be used: {error}. Remove it; the vectors are then computed again"
            ) from error
