"""`open_neuron_db` and `NeuronDb`: a NeuronDB as one object, for notebooks and the command line."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import polars as pl
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from neuron_atlas.adapters.neuron_db.edit import Change, delete, query, write
from neuron_atlas.adapters.neuron_db.label_search import NEURONS, search
from neuron_atlas.adapters.neuron_db.label_sets import find_label_set, list_label_sets
from neuron_atlas.adapters.neuron_db.nearest import Scope
from neuron_atlas.adapters.neuron_db.neuron_facts import NeuronDbSimilarity, read_neuron_facts
from neuron_atlas.adapters.neuron_db.recall import check_recall
from neuron_atlas.adapters.neuron_db.schema import check_schema
from neuron_atlas.adapters.neuron_db.stored_records import LabelRecord, LabelSet, RecallReport
from neuron_atlas.adapters.postgres import (
    Connection,
    Pool,
    Server,
    configured_server,
    start_embedded,
    unescape_text,
    unescaped,
)
from neuron_atlas.adapters.sql import where
from neuron_atlas.core.ports import Embedder
from neuron_atlas.core.publication.filters.neuron_facts import NeuronFacts
from neuron_atlas.core.publication.search.label_records import LabelKey
from neuron_atlas.core.publication.search.search_query import ANY_LABEL, LabelConditions, Mode, SearchQuery
from neuron_atlas.core.publication.search.search_result import SearchResult
from neuron_atlas.core.records import NeuronId
from neuron_atlas.core.tables import ACTIVATION_STATS, EXEMPLARS

DATABASE = "neuron_atlas"
TIMEOUT_MS = 10_000
FACTS_TIMEOUT_MS = 120_000
"""For reading all label records of a label set at once."""
Result = TypeVar("Result")


@dataclass(frozen=True)
class NeuronRecord:
    """All that is stored of one neuron. `cluster_path` and `cluster_label` are missing when it is in no cluster, or not known at
    all. `descriptions`: the label records, by polarity, side and labeler, unlabeled ones with their reason; `quantiles`: by
    corpus, with the list of values at `quantile_levels`; `exemplars`: by corpus, polarity, kind and rank. What is missing is an
    empty frame."""

    neuron: NeuronId
    cluster_path: str | None
    cluster_label: str | None
    descriptions: pl.DataFrame
    quantiles: pl.DataFrame
    exemplars: pl.DataFrame


class NeuronDb:
    """A NeuronDB; any thread may use it.

    Every call is one transaction on a connection of a small pool, repeated with growing, jittered pauses when the server was
    restarted or busy, and stopped when a statement takes longer than `timeout_ms`. Searches are read-only. `model` (id or
    revision) and `version` choose the label set, and may be left out where there is only one.

    `insert`, `update`, `upsert` and `delete` change single label records; whole label sets are loaded by `load_labels`.
    """

    def __init__(
        self,
        server: Server,
        *,
        embedder: Embedder | None = None,
        weights: Path | None = None,
        timeout_ms: int = TIMEOUT_MS,
    ) -> None:
        """`weights` is a folder where the label set's embedder may be found when none is given."""
        self.server = server
        self.timeout_ms = timeout_ms
        self._pool = Pool(server)
        self._embedder = embedder
        self._weights = weights

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections."""
        self._pool.close()

    def label_sets(self) -> list[LabelSet]:
        """What is loaded."""
        return self._read(list_label_sets)

    def search(
        self,
        query: SearchQuery = None,
        *,
        mode: Mode = "hybrid",
        filters: LabelConditions = ANY_LABEL,
        limit: int = 20,
        model: str | None = None,
        version: str | None = None,
    ) -> SearchResult:
        """The label records that meet the conditions `filters` and match `query` best, best first; without a query, those that meet
        the conditions, best score first (see `LabelSearch.search`).

        Raises `BadInput`, `UnknownName` or `Incomplete` for a query that cannot be answered.
        """

        def work(connection: Connection) -> SearchResult:
            label_set = find_label_set(connection, model=model, version=version)
            needed = isinstance(query, str) and mode != "words"
            embedder = self._embedder_of(label_set) if needed else None
            return search(connection, label_set, query, mode=mode, embedder=embedder, filters=filters, limit=limit)

        return self._read(work)

    def query(
        self,
        filters: LabelConditions = ANY_LABEL,
        *,
        limit: int = 10_000,
        model: str | None = None,
        version: str | None = None,
    ) -> tuple[LabelRecord, ...]:
        """The label records that meet the conditions `filters`, unlabeled ones as well, in the order of `LABEL_KEY`."""

        def work(connection: Connection) -> tuple[LabelRecord, ...]:
            label_set = find_label_set(connection, model=model, version=version)
            return query(connection, Scope(label_set, where(filters, neurons=NEURONS)), limit=limit)

        return self._read(work)

    def insert(self, rows: Collection[LabelRecord], *, model: str | None = None, version: str | None = None) -> int:
        """Add label records that are not there yet, all or none; returns how many. Raises `BadInput` when another record of
        that neuron, polarity, side and labeler is there."""
        return self._write(rows, "insert", model, version)

    def update(self, rows: Collection[LabelRecord], *, model: str | None = None, version: str | None = None) -> int:
        """Replace label records that are there, all or none; returns how many changed. Raises `BadInput` when one is not."""
        return self._write(rows, "update", model, version)

    def upsert(self, rows: Collection[LabelRecord], *, model: str | None = None, version: str | None = None) -> int:
        """Add what is not there and replace what is; returns how many rows changed."""
        return self._write(rows, "upsert", model, version)

    def delete(self, keys: Collection[LabelKey], *, model: str | None = None, version: str | None = None) -> int:
        """Delete label records by (layer, neuron, polarity, side, labeler); returns how many there were."""

        def work(connection: Connection) -> int:
            label_set = find_label_set(connection, model=model, version=version)
            return delete(connection, label_set, keys, embedder=self._embedder_of(label_set))

        return self._pool.run(work, timeout_ms=self.timeout_ms)

    def _write(self, rows: Collection[LabelRecord], how: Change, model: str | None, version: str | None) -> int:
        def work(connection: Connection) -> int:
            label_set = find_label_set(connection, model=model, version=version)
            return write(connection, label_set, rows, how=how, embedder=self._embedder_of(label_set))

        return self._pool.run(work, timeout_ms=self.timeout_ms)

    def _read(self, work: Callable[[Connection], Result]) -> Result:
        return self._pool.run(work, read_only=True, timeout_ms=self.timeout_ms)

    def neuron(self, neuron: NeuronId | str, *, model: str | None = None, version: str | None = None) -> NeuronRecord:
        """All that is stored of one neuron, `L18/N6721`; empty frames where there is nothing."""
        wanted = NeuronId.parse(neuron) if isinstance(neuron, str) else neuron

        def work(connection: Connection) -> NeuronRecord:
            label_set = find_label_set(connection, model=model, version=version)
            return NeuronRecord(
                wanted,
                *_cluster_of(connection, label_set, wanted),
                _rows(
                    connection, "descriptions", sql.SQL("label_set = %s"), label_set.label_set, wanted, _DESCRIPTIONS
                ),
                _rows(connection, "quantiles", _OF_MODEL, label_set.revision, wanted, _QUANTILES),
                _rows(connection, "exemplars", _OF_MODEL, label_set.revision, wanted, _EXEMPLARS),
            )

        return self._read(work)

    def known(self, *, corpus: str | None = None, model: str | None = None, version: str | None = None) -> NeuronFacts:
        """What filters and `NeuronView` need to know of the neurons, with quantiles over `corpus` (default: the largest)."""

        def work(connection: Connection) -> NeuronFacts:
            label_set = find_label_set(connection, model=model, version=version)
            meaning = NeuronDbSimilarity(self._read, label_set, self._embedder_of)
            return read_neuron_facts(connection, label_set, meaning, corpus=corpus)

        return self._pool.run(work, read_only=True, timeout_ms=FACTS_TIMEOUT_MS)

    def quantile_levels(self) -> list[float]:
        """The levels that every list of quantiles stands at."""
        levels = "select level from neuron_db.quantile_levels order by rank"
        return self._read(lambda c: [float(level) for (level,) in c.execute(levels)])

    def check_recall(
        self, *, model: str | None = None, version: str | None = None, k: int = 10, n: int = 200
    ) -> RecallReport:
        """Compare the search index with an exact scan and store the result; searches stop using an index that fails."""
        return self._pool.run(lambda c: check_recall(c, find_label_set(c, model=model, version=version), k=k, n=n))

    def _embedder_of(self, label_set: LabelSet) -> Embedder:
        """The given embedder, or the published one that the label set names."""
        if self._embedder is None:
            from neuron_atlas.adapters.embedder import stored_embedder

            self._embedder = stored_embedder(label_set.embedder, folder=self._weights)
        return self._embedder


def open_neuron_db(
    place: Server | Path | str, *, embedder: Embedder | None = None, timeout_ms: int = TIMEOUT_MS
) -> NeuronDb:
    """Open a NeuronDB: `place` is a server, the folder of an embedded one (`.neuron_atlas/postgres`), or a connection string
    (`postgresql://user:password@host:5432/neuron_atlas`). Text searches use `embedder`, or the one the labels were embedded
    with when its weights are on this machine.

    Raises `Unreachable`, `Incomplete` when there is no NeuronDB in that database, `BadInput` when a newer release made it.
    """
    weights = None
    if isinstance(place, Server):
        server = place
    elif isinstance(place, Path) or not ("=" in place or "://" in place):
        server, weights = start_embedded(Path(place)).of(DATABASE), Path(place).parent / "embedder"
    else:
        server = named_server(place)
    server.run(check_schema, read_only=True)
    return NeuronDb(server, embedder=embedder, weights=weights, timeout_ms=timeout_ms)


def named_server(connection_string: str) -> Server:
    """The server that a connection string names."""
    given = conninfo_to_dict(connection_string)
    return configured_server(
        host=str(given.get("host") or "localhost"),
        port=int(given.get("port") or 5432),
        user=str(given.get("user") or "postgres"),
        password=None if given.get("password") is None else str(given["password"]),
        database=str(given.get("dbname") or DATABASE),
    )


_DESCRIPTIONS: dict[str, pl.DataType] = {
    "polarity": pl.Int8(), "side": pl.String(), "labeler": pl.String(), "labeler_version": pl.String(),
    "is_preferred": pl.Boolean(), "label": pl.String(), "description": pl.String(), "unlabeled_reason": pl.String(),
    "type": pl.String(), "direction": pl.Int8(), "confidence": pl.Float32(), "tokens": pl.List(pl.String()),
    "metric": pl.String(), "score": pl.Float32(), "measured": pl.Float32(), "ci_low": pl.Float32(), "ci_high": pl.Float32(),
    "n_scored": pl.Int32(), "interpretability": pl.String(),
}  # fmt: skip
_QUANTILES = {n: t for n, t in ACTIVATION_STATS.schema.items() if n in ("corpus", "n_tokens", "quantiles")}
_EXEMPLARS = {n: t for n, t in EXEMPLARS.schema.items() if n not in ("layer", "neuron", "is_held_out", "token_ids")}
_OF_MODEL = sql.SQL("model = (select model from neuron_db.models where revision = %s)")


def _cluster_of(connection: Connection, label_set: LabelSet, neuron: NeuronId) -> tuple[str | None, str | None]:
    row = connection.execute(
        "select cluster_path, cluster_label from neuron_db.neurons where model = %s and layer = %s and neuron = %s",
        [label_set.model, neuron.layer, neuron.neuron],
    ).fetchone()
    return (None, None) if row is None else (row[0], None if row[1] is None else unescape_text(row[1]))


def _rows(
    connection: Connection, table: str, whose: sql.SQL, value: object, neuron: NeuronId, schema: dict[str, pl.DataType]
) -> pl.DataFrame:
    """One neuron's rows of a table, in the order of its first columns."""
    query = sql.SQL("select {} from {} where {} and layer = %s and neuron = %s order by {}").format(
        sql.SQL(", ").join(map(sql.Identifier, schema)),
        sql.Identifier("neuron_db", table),
        whose,
        sql.SQL(", ").join(map(sql.Identifier, list(schema)[:4])),
    )
    rows = connection.execute(query, [value, neuron.layer, neuron.neuron]).fetchall()
    return unescaped(pl.DataFrame(rows, schema=schema, orient="row"))
