"""Is the index telling the truth? Its nearest neighbours against those of an exact scan."""

from __future__ import annotations

from contextlib import closing
from itertools import islice, pairwise
from typing import Literal

import numpy as np
from pgvector import HalfVector, Vector

from neuron_atlas.adapters.neuron_db.label_sets import has_index
from neuron_atlas.adapters.neuron_db.nearest import DAMAGED, nearest_texts
from neuron_atlas.adapters.neuron_db.records import LabelSet, RecallReport
from neuron_atlas.adapters.postgres import Connection

SAME_SIMILARITY = 1e-6


def check_recall(connection: Connection, label_set: LabelSet, *, k: int = 10, n: int = 200) -> RecallReport:
    """Ask the index and an exact scan `n` questions and store the share of the true `k` nearest that the index found.

    The questions are stored embeddings with a third of another one added, picked by a hash: the same for the same labels, and
    near to some without being one. (Halfway between two labels that have nothing in common, hundreds are about equally far:
    no question lies there.) Neighbours count by similarity, so ties do not matter. A missing or broken index has recall
    0; a set without labels has nothing to miss and recall 1.
    """
    questions = _questions(connection, label_set, n)
    if has_index(connection, label_set):
        shares = [_share(connection, label_set, vector, k) for vector in questions] or [1.0]
    else:
        shares = [0.0]
    report = RecallReport(float(np.mean(shares)), float(np.min(shares)), k, len(questions))
    connection.execute(
        "update neuron_db.label_sets set recall = %s where label_set = %s", [report.recall, label_set.label_set]
    )
    return report


def _share(connection: Connection, label_set: LabelSet, vector: str, k: int) -> float:
    """How many of the true nearest the index gives, 0..1."""
    exact = _first(connection, label_set, vector, k, by="exact")
    try:
        found = _first(connection, label_set, vector, k, by="index")
    except DAMAGED:
        return 0.0
    return sum(near >= exact[-1] - SAME_SIMILARITY for near in found) / len(exact)


def _first(
    connection: Connection, label_set: LabelSet, vector: str, k: int, *, by: Literal["index", "exact"]
) -> list[float]:
    """The similarities of the k nearest texts."""
    with connection.transaction(), closing(nearest_texts(connection, label_set, vector, by=by)) as texts:
        return [similarity for _, similarity in islice(texts, k)]


def _questions(connection: Connection, label_set: LabelSet, n: int) -> list[str]:
    """Points near embeddings, as pgvector writes vectors."""
    rows = connection.execute(
        "select embedding::vector::text from neuron_db.embeddings where label_set = %s order by hashint4(text_key), text_key "
        "limit %s",
        [label_set.label_set, n + 1],
    ).fetchall()
    stored = [Vector.from_text(text).to_numpy() for (text,) in rows]
    near = [(3 * a + b) / 4 for a, b in pairwise(stored)] or stored
    return [HalfVector(vector).to_text() for vector in near]
