"""Labels by people and from elsewhere, kept apart from what can be computed again.

One SQLite file in the atlas's home. Rows are only ever added: the newest of a labeler counts, and what it replaced is still
there. Nothing a machine does writes here, so materializing labels anew cannot touch a person's word. Rows belong to one model
revision: after the model changed they wait for it to come back instead of naming other neurons.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

import polars as pl

from neuron_atlas.adapters.files import make_folder
from neuron_atlas.core.hashing import content_hash
from neuron_atlas.core.labeling.evidence.label_record import Label
from neuron_atlas.core.labeling.labelers.imported import ImportedLabel, as_label
from neuron_atlas.core.records import SIDES, ModelSpec, NeuronId, Side
from neuron_atlas.core.tables import INPUT_LABELS, OUTPUT_LABELS
from neuron_atlas.errors import BadInput, TransientError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS labels (
    id INTEGER PRIMARY KEY, model TEXT NOT NULL, side TEXT NOT NULL, layer INTEGER NOT NULL, neuron INTEGER NOT NULL,
    polarity INTEGER NOT NULL, labeler TEXT NOT NULL, author TEXT NOT NULL, label TEXT NOT NULL, added_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS labels_by_neuron ON labels (model, side, layer, neuron, polarity, labeler, id);
"""
_NEWEST = """
SELECT neuron, polarity, labeler, author, label FROM labels WHERE id IN (
    SELECT max(id) FROM labels WHERE model = ? AND side = ? AND layer = ? GROUP BY neuron, polarity, labeler
) ORDER BY neuron, polarity, labeler
"""
_CHUNK = 2_000
_MOST_REFUSED = 20


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What became of an import: labels added, labels that were there already, and refused ones (the first reasons)."""

    added: int = 0
    unchanged: int = 0
    refused: int = 0
    reasons: tuple[str, ...] = field(default=())


class LabelStore:
    """The labels in the file `path`, made when missing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        make_folder(path.parent)
        try:
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise BadInput(f"{path} cannot be used as a label store: {error}. Restore it from a copy.") from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def put(
        self, neuron: NeuronId, polarity: int, side: Side, label: Label, *, model_revision: str, author: str = "person"
    ) -> None:
        """A person's label; it counts from now on."""
        with self._writing():
            self._add(model_revision, side, neuron, polarity, "human", author, label)

    def add(
        self,
        labels: Iterable[ImportedLabel],
        *,
        model: ModelSpec,
        progress: Callable[[int], None] | None = None,
    ) -> ImportResult:
        """Labels from elsewhere, in transactions of some thousands: interrupted, the same call goes on where it was.

        A label that is there already is left alone; one that names no neuron of the model or may not stand in a label is refused.
        `progress` gets the number read so far.
        """
        added = unchanged = 0
        refused: list[str] = []
        source, read = iter(labels), 0
        while chunk := list(islice(source, _CHUNK)):
            with self._writing():
                for foreign in chunk:
                    try:
                        label = as_label(_within(foreign, model))
                    except BadInput as error:
                        refused.append(str(error))
                        continue
                    author = f"{foreign.origin} {foreign.author}".strip()
                    place = (model.revision, foreign.side, foreign.neuron, foreign.polarity)
                    is_new = self._add(*place, "import", author, label)
                    added, unchanged = added + is_new, unchanged + (not is_new)
            read += len(chunk)
            if progress is not None:
                progress(read)
        return ImportResult(added, unchanged, len(refused), tuple(refused[:_MOST_REFUSED]))

    def rows(self, side: Side, layer: int, *, model_revision: str) -> pl.DataFrame:
        """The labels that count, as rows of `output_labels` or `input_labels`; token ids only where the label has
        them."""
        table = OUTPUT_LABELS if side == "output" else INPUT_LABELS
        found: list[tuple[object, ...]] = []
        for neuron, polarity, labeler, author, text in self._db.execute(_NEWEST, (model_revision, side, layer)):
            label = Label.model_validate_json(text)
            found.append(
                (layer, neuron, polarity, labeler, author, label.label, label.description, label.type, label.confidence, None,
                 label.direction, list(label.tokens), list(label.token_ids), [], content_hash(text), model_revision)
            )  # fmt: skip
        return pl.DataFrame(found, schema=table.schema, orient="row") if found else table.empty()

    def fingerprint(self, layer: int, *, model_revision: str) -> str:
        """A hash that changes exactly when `rows` of the layer do; empty without any."""
        rows = [self._db.execute(_NEWEST, (model_revision, side, layer)).fetchall() for side in SIDES]
        return content_hash(rows)[:16] if any(rows) else ""

    def counts(self, *, model_revision: str) -> dict[tuple[Side, Literal["human", "import"]], int]:
        """Neurons and polarities with a label, by side and labeler."""
        query = (
            "SELECT side, labeler, count(DISTINCT layer || '/' || neuron || '/' || polarity) FROM labels "
            "WHERE model = ? GROUP BY side, labeler"
        )
        return {(side, labeler): n for side, labeler, n in self._db.execute(query, (model_revision,))}

    def _add(
        self, model: str, side: str, neuron: NeuronId, polarity: int, labeler: str, author: str, label: Label
    ) -> bool:
        text = json.dumps(label.model_dump(mode="json"), sort_keys=True)
        key = (model, side, neuron.layer, neuron.neuron, polarity, labeler)
        newest = (
            "SELECT author, label FROM labels WHERE (model, side, layer, neuron, polarity, labeler) = (?, ?, ?, ?, ?, ?) "
            "ORDER BY id DESC LIMIT 1"
        )
        if self._db.execute(newest, key).fetchone() == (author, text):
            return False
        insert = (
            "INSERT INTO labels (model, side, layer, neuron, polarity, labeler, author, label, added_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        )
        self._db.execute(insert, (*key, author, text, time.time()))
        return True

    @contextmanager
    def _writing(self) -> Generator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise TransientError(f"{self.path} is busy or cannot be written: {error}. Run again.") from error
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise


@contextmanager
def open_label_store(path: Path) -> Generator[LabelStore]:
    """The store, closed at the end."""
    store = LabelStore(path)
    try:
        yield store
    finally:
        store.close()


def _within(foreign: ImportedLabel, model: ModelSpec) -> ImportedLabel:
    neuron = foreign.neuron
    if not (0 <= neuron.layer < model.n_layers and 0 <= neuron.neuron < model.n_neurons):
        raise BadInput(
            f"{neuron} is no neuron of {model.model_id}, which has {model.n_layers} layers of {model.n_neurons} neurons"
        )
    return foreign
