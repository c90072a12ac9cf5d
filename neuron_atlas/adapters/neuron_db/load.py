"""Loading a label set: everything or nothing, and the index after the data.

What is new goes into tables of its own, indexed there, and takes the place of the old partitions at the end of the same
transaction. So readers are held up by the swap alone, a kill leaves the old set in force, and a search in one model or version
never thins out the index. A load whose input is already there, down to the last bit, writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pgvector import HalfVector
from psycopg import errors as pg
from psycopg import sql

from neuron_atlas.adapters.neuron_db.label_sets import find_label_set, has_index
from neuron_atlas.adapters.neuron_db.recall import check_recall
from neuron_atlas.adapters.neuron_db.schema import migrate, registered
from neuron_atlas.adapters.neuron_db.stored_records import LabelSet, LoadReport
from neuron_atlas.adapters.postgres import Connection, Server, copy_rows, escaped
from neuron_atlas.core.hashing import content_hash, frame_hash
from neuron_atlas.core.ports import Embedder
from neuron_atlas.core.publication.search.bm25 import FIELD_WEIGHTS, Bm25Index
from neuron_atlas.core.publication.search.label_records import numbered_records, text_to_embed
from neuron_atlas.core.publication.search.label_set_contents import LabelSetContents, SizedModel, collect_label_set
from neuron_atlas.core.records import ModelSpec, Tables
from neuron_atlas.core.tables import QUANTILE_LEVELS
from neuron_atlas.errors import Incomplete

EMBED_BATCH = 2048
RULES = ("meant/1", "terms/2")
"""What of a label is embedded and which words it has; named anew when that changes, so that what old rules made is replaced."""
HNSW = {"m": 16, "ef_construction": 128}
BUILD_MEMORY_MB = 4096
"""Most memory an index build may take on the server."""

COLUMNS = {
    "label_set": "int4", "layer": "int2", "neuron": "int4", "polarity": "int2", "side": "text", "labeler": "text",
    "labeler_version": "text", "is_preferred": "bool", "label": "text", "description": "text", "unlabeled_reason": "text",
    "type": "text", "direction": "int2", "confidence": "float4", "tokens": "text[]", "evidence_hash": "text", "metric": "text",
    "score": "float4", "measured": "float4", "ci_low": "float4", "ci_high": "float4", "n_scored": "int4",
    "interpretability": "text", "text_key": "int4", "document": "int4", "length": "float4",
}  # fmt: skip
"""Columns of `descriptions` with their PostgreSQL types."""
_EMBEDDINGS = {"label_set": "int4", "text_key": "int4", "embedding": "halfvec"}
_TERMS = {"label_set": "int4", "term": "text", "n_documents": "int4"}
_POSTINGS = {"label_set": "int4", "term": "text", "document": "int4", "weight": "float4"}
_PARTS = {
    "neurons": {"model": "int4", "layer": "int2", "neuron": "int4", "cluster_path": "text", "cluster_label": "text"},
    "quantiles": {
        "model": "int4", "corpus": "text", "layer": "int2", "neuron": "int4", "n_tokens": "int8", "density_positive": "float4",
        "density_negative": "float4", "quantiles": "float4[]",
    },
    "exemplars": {
        "model": "int4", "corpus": "text", "layer": "int2", "neuron": "int4", "polarity": "int2", "kind": "text",
        "rank": "int2", "text_id": "text", "tokens": "text[]", "activations": "float4[]", "peak_position": "int4",
        "peak_activation": "float4",
    },
}  # fmt: skip
"""Tables of a model, whatever its label versions, with their PostgreSQL types."""


def load_labels(
    server: Server,
    *,
    model: ModelSpec,
    version: str,
    tables: Tables,
    embedder: Embedder,
    progress: Callable[[int, int], None] | None = None,
) -> LoadReport:
    """Make our own `tables` (see `collect_label_set`) the label set `version` of `model`; the rest as `load_label_set`.

    Raises `Incomplete` when there is no label table at all.
    """
    contents = collect_label_set(tables, model=SizedModel.of(model), version=version)
    return load_label_set(server, contents, embedder=embedder, progress=progress)


def load_label_set(
    server: Server,
    contents: LabelSetContents,
    *,
    embedder: Embedder,
    progress: Callable[[int, int], None] | None = None,
) -> LoadReport:
    """Make `contents` what the database holds of their model and label version, in one transaction; other models and versions
    are not touched. `progress` counts embedded texts. The same input again changes nothing.

    Raises `Incomplete` when they hold no label record.
    """
    frames = contents.frames()
    descriptions = frames.pop("descriptions")
    if descriptions.is_empty():
        raise Incomplete(f"version {contents.version!r} of {contents.model.model_id} holds no labels to load")
    hashes = [frame_hash(frame) for frame in (descriptions, *frames.values())]
    digest = content_hash([*hashes, embedder.embedder_id, RULES, HNSW, FIELD_WEIGHTS])
    sizes = [frame.height for frame in frames.values()]
    server.run(migrate)
    held = server.run(lambda c: _loaded(c, contents, digest), read_only=True)
    if held is not None:
        return LoadReport(held, 0, *sizes, is_new=False)
    texts = descriptions["label"].drop_nulls().unique().sort().to_list()
    vectors = embedded(embedder, texts, progress)
    rows, words = numbered_records(descriptions, {text: key for key, text in enumerate(texts)})

    def work(connection: Connection) -> LabelSet:
        registered(connection)
        one_writer(connection)
        model_key = _model_key(connection, contents.model)
        label_set = _label_set_key(connection, model_key, contents.version, embedder, digest, descriptions, words)
        with _swapped(connection, "embeddings", label_set) as new:
            pairs = ((label_set, key, HalfVector(vector)) for key, vector in enumerate(vectors))
            copy_rows(connection, new, _EMBEDDINGS, pairs, freeze=True)
            build_index(connection, new, embedder.dimension)
        with _swapped(connection, "descriptions", label_set) as new:
            stored_rows = _with(label_set, escaped(rows.select(list(COLUMNS)[1:])))
            copy_rows(connection, new, COLUMNS, stored_rows, freeze=True)
            _index_descriptions(connection, new)
        with _swapped(connection, "terms", label_set) as new:
            copy_rows(connection, new, _TERMS, _with(label_set, words.terms), freeze=True)
        with _swapped(connection, "postings", label_set) as new:
            copy_rows(connection, new, _POSTINGS, _with(label_set, words.postings), freeze=True)
        _replace_levels(connection)
        for part, frame in frames.items():
            _replace_part(connection, model_key, part, _PARTS[part], frame)
        stored = find_label_set(connection, model=contents.model.revision, version=contents.version)
        check_recall(connection, stored)
        return find_label_set(connection, model=contents.model.revision, version=contents.version)

    return LoadReport(server.run(work), len(texts), *sizes, is_new=True)


def embedded(
    embedder: Embedder, texts: Sequence[str], progress: Callable[[int, int], None] | None = None
) -> NDArray[np.float32]:
    """[len(texts), dimension] of labels. Embedded by length, so that a batch holds texts alike."""
    order = sorted(range(len(texts)), key=lambda i: (len(texts[i]), texts[i]))
    vectors = np.empty((len(texts), embedder.dimension), np.float32)
    for start in range(0, len(order), EMBED_BATCH):
        rows = order[start : start + EMBED_BATCH]
        vectors[rows] = embedder.embed([text_to_embed(texts[i]) for i in rows])
        if progress is not None:
            progress(start + len(rows), len(order))
    return vectors


def one_writer(connection: Connection) -> None:
    """Lock out other loads and edits from here to the end of the transaction."""
    connection.execute("select pg_advisory_xact_lock(hashtextextended('neuron_db.load', 0))")


def _with(key: int, frame: pl.DataFrame) -> Iterator[tuple[object, ...]]:
    """The frame's rows behind the number of what they belong to."""
    return ((key, *row) for row in frame.iter_rows())


def _loaded(connection: Connection, contents: LabelSetContents, digest: str) -> LabelSet | None:
    """The stored label set when it is this very one, with its index."""
    query = (
        "select 1 from neuron_db.label_sets join neuron_db.models using (model) "
        "where revision = %s and version = %s and content_hash = %s"
    )
    revision, version = contents.model.revision, contents.version
    if connection.execute(query, [revision, version, digest]).fetchone() is None:
        return None
    found = find_label_set(connection, model=revision, version=version)
    return found if has_index(connection, found) else None


def _model_key(connection: Connection, model: SizedModel) -> int:
    row = connection.execute(
        "insert into neuron_db.models (model_id, revision, n_layers, n_neurons) values (%s, %s, %s, %s) "
        "on conflict (revision) do update set model_id = excluded.model_id returning model",
        [model.model_id, model.revision, model.n_layers, model.n_neurons],
    ).fetchone()
    assert row is not None
    return int(row[0])


def _label_set_key(
    connection: Connection,
    model: int,
    version: str,
    embedder: Embedder,
    digest: str,
    descriptions: pl.DataFrame,
    words: Bm25Index,
) -> int:
    """The label set's number, the same at every load; its line says what is being loaded."""
    unlabeled = descriptions["label"].null_count()
    line: Mapping[str, object] = {
        "model": model, "version": version, "embedder": embedder.embedder_id, "dimension": embedder.dimension,
        "content_hash": digest, "n_descriptions": descriptions.height - unlabeled, "n_unlabeled": unlabeled,
        "n_documents": words.documents.height, "mean_length": words.mean_length, "recall": None,
    }  # fmt: skip
    names = [sql.Identifier(name) for name in line]
    row = connection.execute(
        sql.SQL(
            "insert into neuron_db.label_sets ({}) values ({}) on conflict (model, version) do update set {} returning label_set"
        ).format(
            sql.SQL(", ").join(names),
            sql.SQL(", ").join(map(sql.Placeholder, line)),
            sql.SQL(", ").join(sql.SQL("{} = excluded.{}").format(name, name) for name in names),
        ),
        line,
    ).fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def _swapped(connection: Connection, parent: str, key: int) -> Generator[sql.Identifier]:
    """A new table like `parent`, to fill and index; at the end of the block it takes the place of the partition `key` (a label
    set or a model). Only the swap itself locks readers out."""
    name, parent_table = f"{parent}_{key}", sql.Identifier("neuron_db", parent)
    new, old = sql.Identifier("neuron_db", name + "_new"), sql.Identifier("neuron_db", name)
    connection.execute(sql.SQL("create table {} (like {} including all)").format(new, parent_table))
    yield new
    connection.execute(sql.SQL("analyze {}").format(new))
    connection.execute(sql.SQL("drop table if exists {}").format(old))
    connection.execute(sql.SQL("alter table {} rename to {}").format(new, sql.Identifier(name)))
    attach = sql.SQL("alter table {} attach partition {} for values in ({})")
    connection.execute(attach.format(parent_table, old, key))


def build_index(connection: Connection, table: sql.Identifier, dimension: int) -> None:
    """The HNSW index over a partition of `embeddings`.

    Built by as many processes as the server allows; by one where the memory they share is not to be had (containers often
    limit it to 64 MB). The graph is given the memory it needs (1.4 GB for 900,000 vectors of 384), since a build that spills takes
    many times as long.
    """
    row = connection.execute(sql.SQL("select count(*) from {}").format(table)).fetchone()
    n_vectors = int(row[0]) if row else 0
    memory = f"{min(max(64, graph_bytes(n_vectors, dimension) // 1_000_000), BUILD_MEMORY_MB)}MB"
    connection.execute("select set_config('maintenance_work_mem', %s, true)", [memory])
    statement = sql.SQL(
        "create index on {} using hnsw ((embedding::halfvec({})) halfvec_cosine_ops) with (m = {}, ef_construction = {})"
    ).format(table, dimension, HNSW["m"], HNSW["ef_construction"])
    try:
        with connection.transaction():
            connection.execute(statement)
    except (pg.DiskFull, pg.OutOfMemory):
        connection.execute("set local max_parallel_maintenance_workers = 0")
        connection.execute(statement)


def graph_bytes(n_vectors: int, dimension: int) -> int:
    """Memory of an HNSW graph while it is built: of each vector its numbers, 2 m neighbours of 16 bytes, and some 250 bytes of
    bookkeeping; a tenth more to be sure."""
    return int(1.1 * n_vectors * (2 * dimension + 32 * HNSW["m"] + 250))


def _index_descriptions(connection: Connection, table: sql.Identifier) -> None:
    """What finds label records by text, by document, by label, and by the columns that conditions name."""
    for columns in (
        "(text_key)",
        "(document)",
        "using hash (label)",
        "(score, text_key)",
        "(layer, neuron, polarity, side, labeler, is_preferred, score, type, text_key)",
    ):
        connection.execute(sql.SQL("create index on {} ").format(table) + sql.SQL(columns))


def _replace_levels(connection: Connection) -> None:
    connection.execute("delete from neuron_db.quantile_levels")
    rows: Iterable[tuple[int, float]] = enumerate(QUANTILE_LEVELS)
    copy_rows(connection, sql.Identifier("neuron_db", "quantile_levels"), {"rank": "int2", "level": "float8"}, rows)


def _replace_part(connection: Connection, model: int, part: str, columns: dict[str, str], frame: pl.DataFrame) -> None:
    """Replace a model's neurons, quantiles or exemplars, unless it has these very ones."""
    digest = frame_hash(frame)
    query = "select 1 from neuron_db.parts where model = %s and part = %s and content_hash = %s"
    if connection.execute(query, [model, part, digest]).fetchone() is not None:
        return
    with _swapped(connection, part, model) as new:
        copy_rows(connection, new, columns, _with(model, escaped(frame)), freeze=True)
    connection.execute(
        "insert into neuron_db.parts values (%s, %s, %s) on conflict (model, part) do update "
        "set content_hash = excluded.content_hash",
        [model, part, digest],
    )
