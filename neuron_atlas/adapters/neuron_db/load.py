"""Loading a label set: everything or nothing, and the index after the data.

New descriptions and embeddings go into tables of their own, indexed there, and take the place of the old partitions at the
end of the same transaction. So readers are held up by the swap alone, a kill leaves the old set in force, and a filter by model or
version never thins out the index. A load whose input is already there, down to the last bit, writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pgvector import HalfVector
from psycopg import sql

from neuron_atlas.adapters.neuron_db.recall import check_recall
from neuron_atlas.adapters.neuron_db.records import LabelSet, LoadReport
from neuron_atlas.adapters.neuron_db.schema import migrate, registered
from neuron_atlas.adapters.neuron_db.search import find_label_set, has_index
from neuron_atlas.adapters.postgres import Connection, Server, copy_rows, escaped
from neuron_atlas.core.hashing import frame_hash
from neuron_atlas.core.ports import Embedder
from neuron_atlas.core.records import ModelSpec, Tables, content_hash
from neuron_atlas.core.tables import (
    ACTIVATION_STATS,
    EXEMPLARS,
    INPUT_LABELS,
    LABEL_SCORES,
    OUTPUT_LABELS,
    QUANTILE_LEVELS,
    Table,
)
from neuron_atlas.errors import Incomplete

LABELER_ORDER = ("human", "import", "openai", "openai-batch", "rules")
"""Whose answer is preferred where several labeled the same neuron; a person always first, unknown ones last."""
METRIC_ORDER = ("simulation", "intervention", "detection", "fuzzing", "projection_rank")
"""Which measured score stands for a label: the hardest to pass first."""
EMBED_BATCH = 2048
HNSW = {"m": 16, "ef_construction": 128}

_COLUMNS = {
    "label_set": "int4", "layer": "int2", "neuron": "int4", "polarity": "int2", "side": "text", "labeler": "text",
    "labeler_version": "text", "is_preferred": "bool", "label": "text", "description": "text", "unlabeled_reason": "text",
    "type": "text", "direction": "int2", "confidence": "float4", "tokens": "text[]", "evidence_hash": "text", "metric": "text",
    "score": "float4", "measured": "float4", "ci_low": "float4", "ci_high": "float4", "n_scored": "int4",
    "interpretability": "text", "text_key": "int4",
}  # fmt: skip
_EMBEDDINGS = {"label_set": "int4", "text_key": "int4", "embedding": "halfvec"}
_QUANTILES = {
    "model": "int4", "corpus": "text", "layer": "int2", "neuron": "int4", "n_tokens": "int8", "density_positive": "float4",
    "density_negative": "float4", "quantiles": "float4[]",
}  # fmt: skip
_EXEMPLARS = {
    "model": "int4", "corpus": "text", "layer": "int2", "neuron": "int4", "polarity": "int2", "kind": "text", "rank": "int2",
    "text_id": "text", "tokens": "text[]", "activations": "float4[]", "peak_position": "int4", "peak_activation": "float4",
}  # fmt: skip


def load_descriptions(
    server: Server,
    *,
    model: ModelSpec,
    version: str,
    tables: Tables,
    embedder: Embedder,
    progress: Callable[[int, int], None] | None = None,
) -> LoadReport:
    """Make `tables` the label set `version` of `model`, in one transaction; other models and versions are not touched.

    `tables` holds `output_labels` or `input_labels` or both, and if they exist `label_scores`, `activation_stats` (its
    quantiles are kept) and `exemplars`. `progress` counts embedded texts. The same input again changes nothing. Raises
    `Incomplete` when there is no label table at all.
    """
    descriptions = described(tables)
    quantiles = _whole(tables, ACTIVATION_STATS).select(list(_QUANTILES)[1:])
    exemplars = _whole(tables, EXEMPLARS).select(list(_EXEMPLARS)[1:])
    digest = content_hash([frame_hash(f) for f in (descriptions, quantiles, exemplars)] + [embedder.embedder_id, HNSW])
    server.run(migrate)
    held = server.run(lambda c: _held(c, model, version, digest), read_only=True)
    if held is not None:
        return LoadReport(held, 0, quantiles.height, exemplars.height, is_new=False)
    texts = descriptions["label"].drop_nulls().unique().sort().to_list()
    vectors = embedded(embedder, texts, progress)
    descriptions = descriptions.with_columns(
        text_key=pl.col("label").replace_strict(
            {t: i for i, t in enumerate(texts)}, default=None, return_dtype=pl.Int32
        )
    )

    def work(connection: Connection) -> LabelSet:
        registered(connection)
        connection.execute("select pg_advisory_xact_lock(hashtextextended('neuron_db.load', 0))")
        model_key = _model_key(connection, model)
        label_set = _label_set_key(connection, model_key, version, embedder, digest, descriptions)
        with _swapped(connection, "embeddings", label_set) as new:
            rows = ((label_set, key, HalfVector(vector)) for key, vector in enumerate(vectors))
            copy_rows(connection, new, _EMBEDDINGS, rows)
            build_index(connection, new, embedder.dimension)
        with _swapped(connection, "descriptions", label_set) as new:
            copy_rows(connection, new, _COLUMNS, ((label_set, *row) for row in escaped(descriptions).iter_rows()))
            connection.execute(sql.SQL("create index on {} (text_key)").format(new))
        _replace_levels(connection)
        _replace_part(connection, model_key, "quantiles", _QUANTILES, quantiles)
        _replace_part(connection, model_key, "exemplars", _EXEMPLARS, exemplars)
        stored = find_label_set(connection, model=model.revision, version=version)
        check_recall(connection, stored)
        return find_label_set(connection, model=model.revision, version=version)

    stored = server.run(work)
    return LoadReport(stored, len(texts), quantiles.height, exemplars.height, is_new=True)


def described(tables: Tables) -> pl.DataFrame:
    """One row per neuron, polarity, side and labeler: the label, its best-measured score, whether it is preferred."""
    given = {"output": OUTPUT_LABELS, "input": INPUT_LABELS}
    sides = [
        _whole(tables, table).with_columns(side=pl.lit(side)) for side, table in given.items() if table.name in tables
    ]
    if not sides:
        raise Incomplete("no labels to load; materialize output_labels or input_labels first")
    labels = pl.concat(sides).rename({"version": "labeler_version"})
    key = ["layer", "neuron", "polarity", "side", "labeler"]
    scores = (
        _whole(tables, LABEL_SCORES)
        .filter(pl.col("corrected").is_not_null())
        .with_columns(order=_order("metric", METRIC_ORDER))
        .sort(*key, "order", "metric")
        .unique(key, keep="first", maintain_order=True)
        .select(
            *key, "metric", "ci_low", "ci_high", "interpretability",
            score="corrected", measured="score", n_scored="n",
        )
    )  # fmt: skip
    best = ["layer", "neuron", "polarity", "side"]
    return (
        labels.with_columns(unlabeled=pl.col("label").is_null(), order=_order("labeler", LABELER_ORDER))
        .sort(*best, "unlabeled", "order", "labeler")
        .with_columns(is_preferred=pl.int_range(pl.len()).over(best) == 0)
        .join(scores, on=key, how="left")
        .sort(key)
        .select([c for c in _COLUMNS if c not in ("label_set", "text_key")])
    )


def _order(column: str, names: tuple[str, ...]) -> pl.Expr:
    """A column's place in a list of names; unknown names come last."""
    places = {name: place for place, name in enumerate(names)}
    return pl.col(column).replace_strict(places, default=len(names), return_dtype=pl.Int32)


def _whole(tables: Tables, table: Table) -> pl.DataFrame:
    """A given table, checked; empty when it was not given."""
    return table.checked(tables[table.name].collect()) if table.name in tables else table.empty()


def embedded(
    embedder: Embedder, texts: Sequence[str], progress: Callable[[int, int], None] | None = None
) -> NDArray[np.float32]:
    """[len(texts), dimension]. Embedded by length, so that a batch holds texts alike."""
    order = sorted(range(len(texts)), key=lambda i: (len(texts[i]), texts[i]))
    vectors = np.empty((len(texts), embedder.dimension), np.float32)
    for start in range(0, len(order), EMBED_BATCH):
        rows = order[start : start + EMBED_BATCH]
        vectors[rows] = embedder.embed([texts[i] for i in rows])
        if progress is not None:
            progress(start + len(rows), len(order))
    return vectors


def _held(connection: Connection, model: ModelSpec, version: str, digest: str) -> LabelSet | None:
    """The stored label set when it is this very one, with its index."""
    query = (
        "select 1 from neuron_db.label_sets join neuron_db.models using (model) "
        "where revision = %s and version = %s and content_hash = %s"
    )
    if connection.execute(query, [model.revision, version, digest]).fetchone() is None:
        return None
    found = find_label_set(connection, model=model.revision, version=version)
    return found if has_index(connection, found) else None


def _model_key(connection: Connection, model: ModelSpec) -> int:
    row = connection.execute(
        "insert into neuron_db.models (model_id, revision, n_layers, n_neurons) values (%s, %s, %s, %s) "
        "on conflict (revision) do update set model_id = excluded.model_id returning model",
        [model.model_id, model.revision, model.n_layers, model.n_neurons],
    ).fetchone()
    assert row is not None
    return int(row[0])


def _label_set_key(
    connection: Connection, model: int, version: str, embedder: Embedder, digest: str, descriptions: pl.DataFrame
) -> int:
    """The label set's number, the same at every load; its line says what is being loaded."""
    unlabeled = descriptions["label"].null_count()
    row = connection.execute(
        "insert into neuron_db.label_sets (model, version, embedder, dimension, content_hash, n_descriptions, n_unlabeled) "
        "values (%s, %s, %s, %s, %s, %s, %s) on conflict (model, version) do update set embedder = excluded.embedder, "
        "dimension = excluded.dimension, content_hash = excluded.content_hash, n_descriptions = excluded.n_descriptions, "
        "n_unlabeled = excluded.n_unlabeled, recall = null returning label_set",
        [model, version, embedder.embedder_id, embedder.dimension, digest, descriptions.height - unlabeled, unlabeled],
    ).fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def _swapped(connection: Connection, parent: str, label_set: int) -> Generator[sql.Identifier]:
    """A new table like `parent`, to fill and index; at the end of the block it takes the place of the label set's partition.
    Only the swap itself locks readers out."""
    name, whole = f"{parent}_{label_set}", sql.Identifier("neuron_db", parent)
    new, old = sql.Identifier("neuron_db", name + "_new"), sql.Identifier("neuron_db", name)
    connection.execute(sql.SQL("create table {} (like {} including all)").format(new, whole))
    yield new
    connection.execute(sql.SQL("analyze {}").format(new))
    connection.execute(sql.SQL("drop table if exists {}").format(old))
    connection.execute(sql.SQL("alter table {} rename to {}").format(new, sql.Identifier(name)))
    connection.execute(sql.SQL("alter table {} attach partition {} for values in ({})").format(whole, old, label_set))


def build_index(connection: Connection, table: sql.Identifier, dimension: int) -> None:
    """The HNSW index over a partition of `embeddings`.

    Built by one process: several would share memory, whose size containers often limit to 64 MB.
    """
    connection.execute("set local max_parallel_maintenance_workers = 0")
    connection.execute("set local maintenance_work_mem = '512MB'")
    statement = sql.SQL(
        "create index on {} using hnsw ((embedding::halfvec({})) halfvec_cosine_ops) with (m = {}, ef_construction = {})"
    )
    connection.execute(statement.format(table, dimension, HNSW["m"], HNSW["ef_construction"]))


def _replace_levels(connection: Connection) -> None:
    connection.execute("delete from neuron_db.quantile_levels")
    rows = enumerate(QUANTILE_LEVELS)
    copy_rows(connection, sql.Identifier("neuron_db", "quantile_levels"), {"rank": "int2", "level": "float8"}, rows)


def _replace_part(connection: Connection, model: int, part: str, columns: dict[str, str], frame: pl.DataFrame) -> None:
    """Replace a model's quantiles or exemplars, unless it has these very ones."""
    digest = frame_hash(frame)
    query = "select 1 from neuron_db.parts where model = %s and part = %s and content_hash = %s"
    if connection.execute(query, [model, part, digest]).fetchone() is not None:
        return
    name = sql.Identifier("neuron_db", part)
    connection.execute(sql.SQL("delete from {} where model = %s").format(name), [model])
    copy_rows(connection, name, columns, ((model, *row) for row in escaped(frame).iter_rows()))
    connection.execute(
        "insert into neuron_db.parts values (%s, %s, %s) on conflict (model, part) do update "
        "set content_hash = excluded.content_hash",
        [model, part, digest],
    )
