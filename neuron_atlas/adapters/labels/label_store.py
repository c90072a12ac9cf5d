"""Labels by people and imported ones, stored apart from what can be computed again.

One SQLite file in the atlas's home. Rows are only ever added: the newest of a labeler counts, and what it replaced is still
there. No asset writes here, so materializing labels again cannot overwrite a person's label. Rows belong to one model revision:
while another model is used they are kept but not read, instead of naming other neurons.
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

from neuron_atlas.adapters.sqlite_files import open_sqlite, write_transaction
from neuron_atlas.core.hashing import content_hash
from neuron_atlas.core.labeling.evidence.labeler_answer import Label
from neuron_atlas.core.labeling.labelers.imported import ImportedLabel, as_label
from neuron_atlas.core.records import SIDES, ModelSpec, NeuronId, Side
from neuron_atlas.core.tables import INPUT_LABELS, OUTPUT_LABELS
from neuron_atlas.errors import BadInput

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
        try:
            self._db = open_sqlite(path)
            self._db.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise BadInput(
                f"{path} cannot be used as a label store: {error}. Restore it from a copy, or move it away to start a new one."
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def put(
        self, neuron: NeuronId, polarity: int, side: Side, label: Label, *, model_revision: str, author: str = "person"
    ) -> None:
        """Add a person's label; it replaces what a person said of this neuron before."""
        with write_transaction(self._db, self.path):
            self._add(model_revision, side, neuron, polarity, "human", author, label)

    def add(
        self,
        labels: Iterable[ImportedLabel],
        *,
        model: ModelSpec,
        progress: Callable[[int], None] | None = None,
    ) -> ImportResult:
        """Add imported labels, in transactions of some thousands; after an interruption the same call continues.

        A label that is there already is not added again; one that names no neuron of the model, or whose text may not stand
        in a label, is refused. `progress` gets the number read so far.
        """
        added = unchanged = 0
        refused: list[str] = []
        source, read = iter(labels), 0
        while chunk := list(islice(source, _CHUNK)):
            with write_transaction(self._db, self.path):
                for imported in chunk:
                    try:
                        label = as_label(_within(imported, model))
                    except BadInput as error:
                        refused.append(str(error))
                        continue
                    author = f"{imported.origin} {imported.author}".strip()
                    place = (model.revision, imported.side, imported.neuron, imported.polarity)
                    is_new = self._add(*place, "import", author, label)
                    added, unchanged = added + is_new, unchanged + (not is_new)
            read += len(chunk)
            if progress is not None:
                progress(read)
        return ImportResult(added, unchanged, len(refused), tuple(refused[:_MOST_REFUSED]))

    def rows(self, side: Side, layer: int, *, model_revision: str) -> pl.DataFrame:
        """The newest label of each labeler, as rows of `output_labels` or `input_labels`; token ids only where the label has
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
def open_label_store(path: Path) -> Generator[LabelStore]:
    """The store, closed at the end."""
    store = LabelStore(path)
    try:
        yield store
    finally:
        store.close()


def _within(imported: ImportedLabel, model: ModelSpec) -> ImportedLabel:
    neuron = imported.neuron
    if not (0 <= neuron.layer < model.n_layers and 0 <= neuron.neuron < model.n_neurons):
        raise BadInput(
            f"{neuron} is no neuron of {model.model_id}, which has {model.n_layers} layers of {model.n_neurons} neurons"
        )
    return imported
