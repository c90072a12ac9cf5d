"""NeuronDB as one object, for notebooks, the command line and the API."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from neuron_atlas.adapters.neuron_db.recall import check_recall
from neuron_atlas.adapters.neuron_db.records import Filters, Found, LabelSet, RecallReport
from neuron_atlas.adapters.neuron_db.schema import check_schema
from neuron_atlas.adapters.neuron_db.search import find_label_set, list_label_sets, search
from neuron_atlas.adapters.postgres import Connection, Server, given_server, start_embedded, unescaped
from neuron_atlas.core.ports import Embedder
from neuron_atlas.core.records import NeuronId
from neuron_atlas.core.tables import ACTIVATION_STATS, EXEMPLARS

DATABASE = "neuron_atlas"
TIMEOUT_MS = 10_000


@dataclass(frozen=True)
class NeuronRecord:
    """All that is stored of one neuron. `descriptions`: by polarity, side and labeler, unlabeled ones with their reason;
    `quantiles`: by corpus, with the list of values at `quantile_levels`; `exemplars`: by corpus, polarity, kind and rank."""

    neuron: NeuronId
    descriptions: pl.DataFrame
    quantiles: pl.DataFrame
    exemplars: pl.DataFrame


class NeuronDb:
    """Read access to a NeuronDB; every call is one short read-only transaction, repeated when the server was busy."""

    def __init__(self, server: Server, *, embedder: Embedder | None = None, weights: Path | None = None) -> None:
        """`weights` is a folder where the label set's embedder may be found when none is given."""
        self.server = server
        self._embedder = embedder
        self._weights = weights

    def label_sets(self) -> list[LabelSet]:
        """What is loaded."""
        return self.server.run(list_label_sets, read_only=True)

    def search(
        self,
        query: str | NDArray[np.float32] | None = None,
        *,
        model: str | None = None,
        version: str | None = None,
        limit: int = 20,
        layers: tuple[int | None, int | None] | None = None,
        neurons: Collection[NeuronId] | None = None,
        polarity: Literal[1, -1] | None = None,
        side: Literal["output", "input"] | None = None,
        min_score: float | None = None,
        keyword: str | None = None,
        type: str | None = None,
        labeler: str | None = None,
        only_preferred: bool = True,
        timeout_ms: int = TIMEOUT_MS,
    ) -> Found:
        """The descriptions nearest in meaning to `query` that pass all filters (see `Filters`), nearest first; without a
        query, those that pass, best score first. `model` and `version` choose the label set where there are several.

        Raises `BadInput`, `UnknownName` or `Incomplete` for a question that cannot be answered, `TransientError` when it takes
        longer than `timeout_ms`.
        """
        filters = Filters(layers, neurons, polarity, side, min_score, keyword, type, labeler, only_preferred)

        def work(connection: Connection) -> Found:
            label_set = find_label_set(connection, model=model, version=version)
            embedder = self._embedder_of(label_set) if isinstance(query, str) else None
            return search(connection, label_set, query, embedder=embedder, filters=filters, limit=limit)

        return self.server.run(work, read_only=True, timeout_ms=timeout_ms)

    def neuron(self, neuron: NeuronId | str, *, model: str | None = None, version: str | None = None) -> NeuronRecord:
        """All that is stored of one neuron, `L18/N6721`; empty frames where there is nothing."""
        wanted = NeuronId.parse(neuron) if isinstance(neuron, str) else neuron

        def work(connection: Connection) -> NeuronRecord:
            label_set = find_label_set(connection, model=model, version=version)
            return NeuronRecord(
                wanted,
                _rows(
                    connection, "descriptions", sql.SQL("label_set = %s"), label_set.label_set, wanted, _DESCRIPTIONS
                ),
                _rows(connection, "quantiles", _OF_MODEL, label_set.revision, wanted, _QUANTILES),
                _rows(connection, "exemplars", _OF_MODEL, label_set.revision, wanted, _EXEMPLARS),
            )

        return self.server.run(work, read_only=True, timeout_ms=TIMEOUT_MS)

    def quantile_levels(self) -> list[float]:
        """The levels that every list of quantiles stands at."""
        query = "select level from neuron_db.quantile_levels order by rank"
        return self.server.run(lambda c: [float(level) for (level,) in c.execute(query)], read_only=True)

    def check_recall(
        self, *, model: str | None = None, version: str | None = None, k: int = 10, n: int = 200
    ) -> RecallReport:
        """Compare the search index with an exact scan and store the result; searches stop using an index that fails."""
        return self.server.run(lambda c: check_recall(c, find_label_set(c, model=model, version=version), k=k, n=n))

    def _embedder_of(self, label_set: LabelSet) -> Embedder:
        """The given embedder, or the published one that the label set names."""
        if self._embedder is None:
            from neuron_atlas.adapters.embedder import load_embedder

            self._embedder = load_embedder(label_set.embedder.partition("@")[0], folder=self._weights)
        return self._embedder


def open_neuron_db(where: Server | Path | str, *, embedder: Embedder | None = None) -> NeuronDb:
    """Open a NeuronDB: `where` is a server, the folder of an embedded one (`.neuron_atlas/postgres`), or a connection string
    (`postgresql://user:password@host:5432/neuron_atlas`). Text searches use `embedder`, or the one the labels were embedded
    with when its weights are on this machine.

    Raises `Unreachable`, `Incomplete` when there is no NeuronDB in that database, `BadInput` when a newer release made it.
    """
    weights = None
    if isinstance(where, Server):
        server = where
    elif isinstance(where, Path) or not ("=" in where or "://" in where):
        server, weights = start_embedded(Path(where)).of(DATABASE), Path(where).parent / "embedder"
    else:
        server = _named_server(where)
    server.run(check_schema, read_only=True)
    return NeuronDb(server, embedder=embedder, weights=weights)


def _named_server(connection_string: str) -> Server:
    given = conninfo_to_dict(connection_string)
    return given_server(
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
