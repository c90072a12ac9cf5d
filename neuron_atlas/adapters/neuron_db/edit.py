"""Single label records in and out of a label set, with the words, vectors and counts that follow from them.

A change replaces groups: all records of a neuron, polarity and side, of which one is preferred. Their rows, words and
vectors are taken out and put back changed, in one transaction, so that a search sees the group before or after. Every call
may be repeated: inserting what is there already, down to the last value, changes nothing, and neither does deleting what is
gone. A label set that was edited is no longer what was loaded; the next load replaces it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, fields, replace
from math import isfinite
from typing import Literal, TypeAlias

import numpy as np
import polars as pl
from pgvector import HalfVector
from psycopg import sql
from psycopg.rows import class_row

from neuron_atlas.adapters.neuron_db.load import COLUMNS, one_writer
from neuron_atlas.adapters.neuron_db.nearest import Scope, statement
from neuron_atlas.adapters.neuron_db.schema import registered
from neuron_atlas.adapters.neuron_db.stored_records import LabelRecord, LabelSet
from neuron_atlas.adapters.postgres import Connection, copy_rows, escaped, unescape_text, unescaped
from neuron_atlas.core.ports import Embedder
from neuron_atlas.core.publication.search.bm25 import bm25_index, label_fields
from neuron_atlas.core.publication.search.label_records import (
    LABEL_KEY,
    LABEL_RECORD,
    LabelKey,
    numbered_records,
    text_to_embed,
    with_preferred,
)
from neuron_atlas.errors import BadInput

Change: TypeAlias = Literal["insert", "update", "upsert"]
ByKey: TypeAlias = dict[LabelKey, LabelRecord]
_TEXTS: dict[str, pl.DataType] = {
    "document": pl.Int32(), "text_key": pl.Int32(), "label": pl.String(), "description": pl.String(),
    "tokens": pl.List(pl.String()),
}  # fmt: skip
STORED = ", ".join(field.name for field in fields(LabelRecord))
GROUPS = (
    "(layer, neuron, polarity, side) in "
    "(select * from unnest(:layers::int2[], :neurons::int4[], :polarities::int2[], :sides::text[]))"
)


def write(
    connection: Connection, label_set: LabelSet, rows: Collection[LabelRecord], *, how: Change, embedder: Embedder
) -> int:
    """Insert, update or upsert label records (see `NeuronDb`); returns how many rows changed."""
    new = _by_key(rows)
    _refuse_bad_rows(new.values(), label_set, connection)

    def changed(held: ByKey) -> ByKey:
        present = {key for key in new if key in held}
        if how == "insert" and (there := [key for key in present if not _same(held[key], new[key])]):
            raise BadInput(f"{_name(there[0])} has a label record already; update or upsert it, or delete it first")
        if how == "update" and (absent := new.keys() - present):
            raise BadInput(f"{_name(min(absent))} has no label record to update; insert or upsert it")
        return {**held, **new}

    return _replace(connection, label_set, list(new), changed, embedder)


def delete(connection: Connection, label_set: LabelSet, keys: Collection[LabelKey], *, embedder: Embedder) -> int:
    """Delete label records; returns how many there were."""
    gone = set(keys)
    return _replace(
        connection, label_set, list(gone), lambda held: {k: v for k, v in held.items() if k not in gone}, embedder
    )


def query(connection: Connection, scope: Scope, *, limit: int, condition: str = "true") -> tuple[LabelRecord, ...]:
    """The label records of a scope, unlabeled ones as well, in key order."""
    text = (
        f"select {STORED} from neuron_db.descriptions where label_set = :label_set and ({scope.where.text}) and {condition} "
        f"order by {', '.join(LABEL_KEY)} limit :limit"
    )
    with connection.cursor(row_factory=class_row(LabelRecord)) as cursor:
        rows = cursor.execute(statement(text), scope.values(limit=limit)).fetchall()
    return tuple(_readable(row) for row in rows)


# ------------------------------------------------------------------------------------------------------------------ one change
def _replace(
    connection: Connection,
    label_set: LabelSet,
    keys: Sequence[LabelKey],
    changed: Callable[[ByKey], ByKey],
    embedder: Embedder,
) -> int:
    """Put what `changed` makes of the groups of `keys` in their place; returns how many rows differ."""
    if not keys:
        return 0
    registered(connection)
    one_writer(connection)
    groups = _Groups(label_set, keys)
    held = {row.key: row for row in groups.rows(connection)}
    wanted = changed(held)
    different = {key for key in held.keys() | wanted.keys() if not _same(held.get(key), wanted.get(key))}
    if different:
        groups.clear(connection)
        _put(connection, label_set, list(wanted.values()), embedder)
        groups.sweep(connection)
        _recount(connection, label_set)
    return len(different)


class _Groups:
    """The groups of some keys in the database."""

    def __init__(self, label_set: LabelSet, keys: Iterable[LabelKey]) -> None:
        layers, neurons, polarities, sides = zip(*sorted({key[:4] for key in keys}), strict=True)
        self.label_set = label_set
        self._values: dict[str, object] = {
            "label_set": label_set.label_set, "layers": list(layers), "neurons": list(neurons),
            "polarities": list(polarities), "sides": list(sides),
        }  # fmt: skip
        self._terms: list[str] = []
        self._texts: list[int] = []

    def rows(self, connection: Connection) -> list[LabelRecord]:
        """What they hold."""
        text = f"select {STORED} from neuron_db.descriptions where label_set = :label_set and {GROUPS}"
        with connection.cursor(row_factory=class_row(LabelRecord)) as cursor:
            return [_readable(row) for row in cursor.execute(statement(text), self._values).fetchall()]

    def clear(self, connection: Connection) -> None:
        """Take out their rows and words, and remember which terms and texts that concerns."""
        gone = (
            f"delete from neuron_db.descriptions where label_set = :label_set and {GROUPS} "
            "returning document, text_key, label, description, tokens"
        )
        rows = pl.DataFrame(connection.execute(statement(gone), self._values).fetchall(), schema=_TEXTS, orient="row")
        labeled = unescaped(rows).drop_nulls("document")
        self._texts = labeled["text_key"].unique().sort().to_list()
        self._terms = bm25_index(label_fields(labeled)).terms["term"].to_list()
        connection.execute(
            "delete from neuron_db.postings where label_set = %s and term = any(%s) and document = any(%s)",
            [self.label_set.label_set, self._terms, labeled["document"].to_list()],
        )

    def sweep(self, connection: Connection) -> None:
        """Drop texts that no record has any more, and count again the terms that were taken out."""
        connection.execute(
            "delete from neuron_db.embeddings e where label_set = %(label_set)s and text_key = any(%(texts)s) and not exists "
            "(select from neuron_db.descriptions d where d.label_set = e.label_set and d.text_key = e.text_key)",
            {"label_set": self.label_set.label_set, "texts": self._texts},
        )
        _recount_terms(connection, self.label_set, self._terms)


def _put(connection: Connection, label_set: LabelSet, rows: Sequence[LabelRecord], embedder: Embedder) -> None:
    """Store whole groups with their words and vectors."""
    if not rows:
        return
    frame = with_preferred(
        pl.DataFrame([asdict(row) for row in rows], schema_overrides=LABEL_RECORD, infer_schema_length=None)
    )
    keys = _text_keys(connection, label_set, frame["label"].drop_nulls().unique().sort().to_list(), embedder)
    first = _next(connection, label_set, "descriptions", "document")
    rows_in, words = numbered_records(frame, keys, first_document=first)
    held = label_set.label_set
    stored = ((held, *row) for row in escaped(rows_in.select(list(COLUMNS)[1:])).iter_rows())
    copy_rows(connection, sql.Identifier("neuron_db", "descriptions"), COLUMNS, stored)
    postings = {"label_set": "int4", "term": "text", "document": "int4", "weight": "float4"}
    copy_rows(
        connection,
        sql.Identifier("neuron_db", "postings"),
        postings,
        ((held, *row) for row in words.postings.iter_rows()),
    )
    _recount_terms(connection, label_set, words.terms["term"].to_list())
    at = rows_in.select("layer", "neuron").unique().rows()
    connection.cursor().executemany(
        "insert into neuron_db.neurons (model, layer, neuron) values (%s, %s, %s) on conflict do nothing",
        [(label_set.model, *neuron) for neuron in at],
    )


def _text_keys(connection: Connection, label_set: LabelSet, texts: list[str], embedder: Embedder) -> dict[str, int]:
    """The number of each label's embedding; labels that are new to the set are embedded."""
    escaped_texts = escaped(pl.DataFrame({"text": texts}, schema={"text": pl.String}))["text"].to_list()
    stored = connection.execute(
        "select distinct label, text_key from neuron_db.descriptions where label_set = %s and label = any(%s)",
        [label_set.label_set, escaped_texts],
    ).fetchall()
    keys = {unescape_text(label): int(key) for label, key in stored}
    missing = [text for text in texts if text not in keys]
    first = _next(connection, label_set, "embeddings", "text_key")
    rows = enumerate(embedder.embed([text_to_embed(text) for text in missing]), start=first) if missing else ()
    copy_rows(
        connection,
        sql.Identifier("neuron_db", "embeddings"),
        {"label_set": "int4", "text_key": "int4", "embedding": "halfvec"},
        ((label_set.label_set, key, HalfVector(vector)) for key, vector in rows),
    )
    return keys | {text: key for key, text in enumerate(missing, start=first)}


def _next(connection: Connection, label_set: LabelSet, table: str, column: str) -> int:
    """The first number that no row has."""
    text = sql.SQL("select coalesce(max({}), -1) + 1 from {} where label_set = %s")
    row = connection.execute(
        text.format(sql.Identifier(column), sql.Identifier("neuron_db", table)), [label_set.label_set]
    ).fetchone()
    return int(row[0]) if row else 0


def _recount_terms(connection: Connection, label_set: LabelSet, terms: list[str]) -> None:
    values = {"label_set": label_set.label_set, "terms": terms}
    connection.execute("delete from neuron_db.terms where label_set = %(label_set)s and term = any(%(terms)s)", values)
    connection.execute(
        "insert into neuron_db.terms select label_set, term, count(*) from neuron_db.postings "
        "where label_set = %(label_set)s and term = any(%(terms)s) group by label_set, term",
        values,
    )


def _recount(connection: Connection, label_set: LabelSet) -> None:
    """The label set's line says what it holds now, and that it is not what was loaded."""
    connection.execute(
        "update neuron_db.label_sets set content_hash = 'edited', n_descriptions = held.labeled, n_unlabeled = held.unlabeled, "
        "n_documents = held.documents, mean_length = held.mean from (select count(label) as labeled, "
        "count(*) - count(label) as unlabeled, count(length) as documents, coalesce(avg(length), 0) as mean "
        "from neuron_db.descriptions where label_set = %(label_set)s) held where label_set = %(label_set)s",
        {"label_set": label_set.label_set},
    )
    connection.execute("delete from neuron_db.parts where model = %s and part = 'neurons'", [label_set.model])


# ------------------------------------------------------------------------------------------------------------------------ rows
def _by_key(rows: Collection[LabelRecord]) -> ByKey:
    found = {row.key: row for row in rows}
    if len(found) < len(rows):
        raise BadInput(
            f"{len(rows) - len(found)} of {len(rows)} label records repeat a neuron, polarity, side and labeler"
        )
    return found


def _refuse_bad_rows(rows: Iterable[LabelRecord], label_set: LabelSet, connection: Connection) -> None:
    size = connection.execute(
        "select n_layers, n_neurons from neuron_db.models where model = %s", [label_set.model]
    ).fetchone()
    assert size is not None
    for row in rows:
        if not (0 <= row.layer < size[0] and 0 <= row.neuron < size[1]):
            raise BadInput(f"{_name(row.key)}: model {label_set.model_id} has {size[0]} layers of {size[1]} neurons")
        if row.polarity not in (1, -1) or row.side not in ("output", "input") or not row.labeler:
            raise BadInput(
                f"{_name(row.key)}: expected polarity 1 or -1, side output or input, and the name of a labeler"
            )
        if row.label is not None and not row.label.strip():
            raise BadInput(f"{_name(row.key)}: the label is blank; expected words, or None with an unlabeled_reason")
        if row.score is not None and not isfinite(row.score):
            raise BadInput(f"{_name(row.key)}: the score is {row.score}; expected a finite number or None")


def _same(one: LabelRecord | None, other: LabelRecord | None) -> bool:
    """Whether two rows say the same; numbers in single precision, as they are stored, and which one is preferred aside."""
    if one is None or other is None:
        return one is other
    return _stored(one) == _stored(other)


def _stored(row: LabelRecord) -> dict[str, object]:
    values = asdict(row) | {"is_preferred": None}
    return {name: float(np.float32(v)) if isinstance(v, float) else v for name, v in values.items()}


def _name(key: LabelKey) -> str:
    layer, neuron, polarity, side, labeler = key
    return f"L{layer}/N{neuron}{'+' if polarity > 0 else '-'} ({side}, {labeler})"


def _readable(row: LabelRecord) -> LabelRecord:
    """The row with its texts as they were loaded."""
    return replace(
        row,
        labeler=unescape_text(row.labeler),
        label=_unescaped(row.label),
        description=_unescaped(row.description),
        unlabeled_reason=_unescaped(row.unlabeled_reason),
        tokens=[unescape_text(token) for token in row.tokens],
    )


def _unescaped(text: str | None) -> str | None:
    return None if text is None else unescape_text(text)
