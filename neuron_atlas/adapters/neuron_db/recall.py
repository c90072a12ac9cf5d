"""Recall of the search index: its nearest neighbours against those of an exact scan."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from itertools import islice, pairwise

import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector, Vector
from psycopg import sql

from neuron_atlas.adapters.neuron_db.label_sets import has_index
from neuron_atlas.adapters.neuron_db.nearest import DAMAGED, nearest_texts
from neuron_atlas.adapters.neuron_db.schema import registered
from neuron_atlas.adapters.neuron_db.stored_records import LabelSet, RecallReport
from neuron_atlas.adapters.postgres import Connection

SAME_SIMILARITY = 1e-6
BLOCK = 10_000
"""Vectors compared at a time."""
Array = NDArray[np.float32]


def check_recall(connection: Connection, label_set: LabelSet, *, k: int = 10, n: int = 200) -> RecallReport:
    """Ask the index and an exact scan `n` questions and store the share of the true `k` nearest that the index found.

    The questions are stored embeddings with a third of another one added, picked by a hash: the same for the same labels, and
    near to some without being one. (Halfway between two labels that have nothing in common, hundreds are about equally far:
    no question lies there.) Neighbours count by similarity, so ties do not matter. A missing or broken index has recall
    0; a set without labels has nothing to miss and recall 1.
    """
    questions = _questions(connection, label_set, n)
    if has_index(connection, label_set):
        exact = _exactly(connection, label_set, questions, k)
        shares = [_share(connection, label_set, *one) for one in zip(questions, exact, strict=True)] or [1.0]
    else:
        shares = [0.0]
    report = RecallReport(float(np.mean(shares)), float(np.min(shares)), k, len(questions))
    connection.execute(
        "update neuron_db.label_sets set recall = %s where label_set = %s", [report.recall, label_set.label_set]
    )
    return report


def _share(connection: Connection, label_set: LabelSet, question: HalfVector, exact: Array) -> float:
    """How many of the true nearest, by their falling similarities, the index gives, 0..1."""
    try:
        with connection.transaction(), closing(nearest_texts(connection, label_set, question.to_text())) as texts:
            found = [similarity for _, similarity in islice(texts, len(exact))]
    except DAMAGED:
        return 0.0
    return sum(near >= exact[-1] - SAME_SIMILARITY for near in found) / len(exact)


def _exactly(connection: Connection, label_set: LabelSet, questions: Sequence[HalfVector], k: int) -> Array:
    """[questions, k or all there are]: falling similarities of the nearest texts. All vectors are read once for all questions:
    a scan for each would take nearly as long as building the index."""
    asked = _unit(questions)
    best = np.empty((len(questions), 0), np.float32)
    query = sql.SQL("copy (select embedding from {}) to stdout with (format binary)").format(
        sql.Identifier("neuron_db", f"embeddings_{label_set.label_set}")
    )
    with registered(connection).cursor() as cursor, cursor.copy(query) as copy:
        copy.set_types(["halfvec"])
        rows = copy.rows()
        while block := [vector for (vector,) in islice(rows, BLOCK)]:
            best = np.concatenate([best, asked @ _unit(block).T], axis=1)
            best = -np.sort(-best, axis=1)[:, :k]
    return best


def _unit(vectors: Sequence[HalfVector]) -> Array:
    """[len(vectors), dimension], each of length 1."""
    rows = np.array([vector.to_numpy() for vector in vectors], np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _questions(connection: Connection, label_set: LabelSet, n: int) -> list[HalfVector]:
    """Points near embeddings."""
    rows = connection.execute(
        "select embedding::vector::text from neuron_db.embeddings where label_set = %s order by hashint4(text_key), text_key "
        "limit %s",
        [label_set.label_set, n + 1],
    ).fetchall()
    stored = [Vector.from_text(text).to_numpy() for (text,) in rows]
    near = [(3 * a + b) / 4 for a, b in pairwise(stored)] or stored
    return [HalfVector(vector) for vector in near]
