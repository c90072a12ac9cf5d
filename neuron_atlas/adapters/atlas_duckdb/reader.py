"""Reading an atlas: search, one neuron, its edges, the clusters, SQL.

Nothing here can write: the file is attached read-only, other files are out of reach and settings are locked
(`schema.open_read_only`). Everything returns polars frames.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeAlias

import duckdb
import polars as pl

from neuron_atlas.adapters.atlas_duckdb.label_search import AtlasLabels
from neuron_atlas.adapters.atlas_duckdb.neuron_card import NeuronCard
from neuron_atlas.adapters.atlas_duckdb.neuron_facts import read_neuron_facts
from neuron_atlas.adapters.atlas_duckdb.neuron_search import LayerSelection, search_neurons
from neuron_atlas.adapters.atlas_duckdb.schema import Parameters, frame_of, open_read_only, statement
from neuron_atlas.adapters.atlas_duckdb.summary import AtlasSummary
from neuron_atlas.core.ports import Embedder
from neuron_atlas.core.publication.filters.neuron_facts import NeuronFacts
from neuron_atlas.core.records import NeuronId
from neuron_atlas.errors import BadInput, UnknownName

Direction: TypeAlias = Literal["upstream", "downstream", "both"]

MAX_ROWS = 100_000
"""Most rows any call returns."""


def open_atlas(
    path: str | Path, *, memory_limit: str = "1GB", threads: int = 2, embedder: Embedder | None = None
) -> Atlas:
    """Open an atlas for reading. Labels are searched by `embedder`, or by the one the atlas was built with when its weights are
    on this machine.

    Raises `BadInput` when there is no such file, it is no atlas, or it is of another version (with the command to run).
    """
    connection = open_read_only(Path(path), memory_limit=memory_limit, threads=threads)
    return Atlas(Path(path), connection, embedder=embedder)


class Atlas:
    """One open atlas. It keeps the file it opened even when a newer build replaces it; calls may come from several threads.

    `labels.search(...)` searches the labels by meaning and by words, under conditions, exactly as `NeuronDb.search` does.
    """

    def __init__(self, path: Path, connection: duckdb.DuckDBPyConnection, *, embedder: Embedder | None = None) -> None:
        self.path = path
        self._connection = connection
        self.labels = AtlasLabels(
            self._cursor, metadata=self.metadata, embedder=embedder, weights=path.parent / "embedder"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    @property
    def metadata(self) -> dict[str, str]:
        """Facts of the whole: model, revision, counts, atlas version, tables that were missing."""
        return dict(self._rows("SELECT key, value FROM metadata").iter_rows())

    def search(self, text: str, limit: int = 20, *, layers: LayerSelection = None) -> pl.DataFrame:
        """Neurons whose labels, descriptions, promoted tokens, cluster or domain match, best first (BM25, see `bm25.py`).

        `layers` keeps the search to some layers: a list such as `[2, 4]`, or a text such as `2..5` or `2,4..6`.

        Columns: neuron_id, layer, neuron, score, label, output_label, input_label, description, promotes, cluster_path,
        cluster_label, matched. Raises `BadInput` on a text without a letter or digit.
        """
        return search_neurons(self._cursor(), text, limit=_limit(limit), layers=layers)

    def query(self, pattern: str, limit: int = 20) -> pl.DataFrame:
        """Neurons with `pattern` anywhere in a label, whatever its case, in order of layer and neuron.

        Columns: neuron_id, layer, neuron, label, top_cluster. `%` and `_` stand for themselves. `query_lines` prints them.
        """
        return self._rows(statement("queries/query"), {"pattern": pattern, "limit": _limit(limit)})

    def neuron(self, neuron: str | NeuronId, *, limit: int = 20) -> NeuronCard:
        """Everything known of one neuron, at most `limit` edges, neighbours and prompts each.

        Raises `BadInput` when the text is no neuron, `UnknownName` when the atlas does not have it.
        """
        found = self._existing(neuron)
        at: dict[str, object] = {"layer": found.layer, "neuron": found.neuron}

        def rows(table: str, order: str) -> pl.DataFrame:
            return self._rows(f"SELECT * FROM {table} WHERE layer = $layer AND neuron = $neuron ORDER BY {order}", at)

        return NeuronCard(
            neuron=found,
            summary=rows("neurons", "ALL"),
            labels=rows("neuron_labels", "side DESC, polarity DESC"),
            scores=rows("label_scores", "side, polarity DESC, labeler, metric"),
            upstream=self.edges(found, "upstream", limit=limit),
            downstream=self.edges(found, "downstream", limit=limit),
            weight_edges=self._rows(statement("queries/neuron/weight_edges"), {**at, "limit": _limit(limit)}),
            exemplars=rows("exemplars", "corpus, polarity DESC, kind DESC, rank"),
            output_projections=rows("output_projections", "direction DESC, rank"),
            input_projections=rows("input_projections", "direction DESC, rank"),
            token_associations=rows("token_associations", "polarity DESC, place, rank"),
            cooccurrence=rows("cooccurrence", "rank").head(limit),
            profiles=rows("neuron_profiles", "polarity DESC"),
            der=rows("der_scores", "ALL"),
            activations=rows("activation_stats", "corpus"),
            prompts=self._rows(statement("queries/neuron/prompts"), {**at, "limit": _limit(limit)}),
            cluster=self._rows(statement("queries/neuron/cluster"), at),
            profile_cluster=self._rows(statement("queries/neuron/profile_cluster"), at),
        )

    def edges(self, neuron: str | NeuronId, direction: Direction = "both", *, limit: int = 50) -> pl.DataFrame:
        """The edges into (`upstream`) or out of (`downstream`) a neuron, those with most flow over all prompts first. Each is a
        statistic over all prompts; the edges of one prompt's graph are the table `graph_edges`.

        Columns: direction, kind (neuron, embedding, logit), other (neuron id, or token text), layer, neuron (or token id), label,
        weight_mean, sign_agreement, n, n_prompts, frequency, flow_mean, flow_abs_mean. Raises as `neuron` does.
        """
        if direction not in ("upstream", "downstream", "both"):
            raise BadInput(f"unknown direction {direction!r}; expected upstream, downstream or both")
        found = self._existing(neuron)
        parameters = {"layer": found.layer, "neuron": found.neuron, "direction": direction, "limit": _limit(limit)}
        return self._rows(statement("queries/neuron/edges"), parameters)

    def always_on(self, share: float = 0.9) -> pl.DataFrame:
        """Neurons that are nodes of at least this share of all graphs, most frequent first: for `trace(exclude=...)`.

        Columns: neuron_id, layer, neuron, n_prompts, frequency. Raises `BadInput` for a share outside (0, 1].
        """
        if not 0 < share <= 1:
            raise BadInput(f"a share of graphs is above 0 and at most 1; got {share}")
        return self._rows(statement("queries/always_on"), {"share": share})

    def clusters(self, *, level: int | None = None) -> pl.DataFrame:
        """All clusters, or those of one level (1: top), with their labels: most flow first within a level."""
        return self._rows(statement("queries/clusters"), {"level": level})

    def cluster(self, path: str, *, limit: int = MAX_ROWS) -> pl.DataFrame:
        """The neurons of a cluster and of those inside it, most flow first. Raises `UnknownName` for no such cluster."""
        paths = self._rows("SELECT path FROM clusters ORDER BY level, flow DESC")["path"].to_list()
        if path not in paths:
            raise UnknownName("cluster", path, paths)
        return self._rows(statement("queries/members_of_cluster"), {"path": path, "limit": _limit(limit)})

    def profile_clusters(self) -> pl.DataFrame:
        """The second view: clusters of neurons with like attribution profiles, largest first."""
        return self._rows("FROM profile_clusters ORDER BY size DESC, cluster")

    def analyses(self) -> pl.DataFrame:
        """The circuits of single prompts that were analysed, with their modules: by prompt, most relevant module first."""
        return self._rows(statement("queries/analyses"))

    def summary(self) -> AtlasSummary:
        """How much the atlas holds, how many labels it has and how they score, and what is worth a first question."""
        cluster, neuron = (self._rows(statement(f"queries/summary/top_{name}")) for name in ("cluster", "neuron"))
        return AtlasSummary(
            counts=self._rows(statement("queries/summary/counts")),
            labels=self._rows(statement("queries/summary/labels")),
            scores=self._rows(statement("queries/summary/scores")),
            top_cluster=None if cluster.is_empty() else str(cluster["label"][0]),
            top_neuron=None if neuron.is_empty() else neuron.row(0),
        )

    def known(self, *, corpus: str | None = None) -> NeuronFacts:
        """What filters and `NeuronView` need to know of the neurons, with quantiles over `corpus` (default: the largest)."""
        return read_neuron_facts(self._cursor(), self.metadata, self.labels.embedded, corpus=corpus)

    def sql(self, query: str, *, limit: int = MAX_ROWS, timeout_s: float = 30.0) -> pl.DataFrame:
        """Run one SELECT (or DESCRIBE, SHOW TABLES, SUMMARIZE) and return at most `limit` rows.

        Raises `BadInput` on any other statement, on several, on an error in it, or when it runs longer than `timeout_s`.
        """
        cursor = self._cursor()
        timer = threading.Timer(timeout_s, cursor.interrupt)
        try:
            _refuse_all_but_reading(cursor, query)
            timer.start()
            return cursor.query(query).limit(_limit(limit)).pl()
        except duckdb.InterruptException as error:
            raise BadInput(f"the query ran longer than {timeout_s:g} s and was stopped; ask for less") from error
        except duckdb.Error as error:
            raise BadInput(f"the query failed: {error}") from error
        finally:
            timer.cancel()
            cursor.close()

    def _existing(self, neuron: str | NeuronId) -> NeuronId:
        """The neuron, if the atlas has it."""
        wanted = NeuronId.parse(neuron) if isinstance(neuron, str) else neuron
        at = {"layer": wanted.layer, "neuron": wanted.neuron}
        if self._rows("SELECT 1 FROM neurons WHERE layer = $layer AND neuron = $neuron", at).is_empty():
            near = self._rows(
                "SELECT neuron_id FROM neurons WHERE layer = $layer ORDER BY abs(neuron - $neuron), neuron LIMIT 5", at
            )["neuron_id"].to_list()
            if not near:
                (first, last), *_ = self._rows("SELECT min(layer), max(layer) FROM neurons").iter_rows()
                raise UnknownName("neuron", str(wanted), [f"those of layers {first}..{last}"])
            raise UnknownName("neuron", str(wanted), near, hint="These are the nearest it has.")
        return wanted

    def _rows(self, sql: str, parameters: Parameters | None = None) -> pl.DataFrame:
        return frame_of(self._cursor(), sql, parameters)

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own for one call, so that calls from several threads do not meet."""
        cursor = self._connection.cursor()
        cursor.execute("USE atlas")
        return cursor


def query_lines(found: pl.DataFrame) -> Iterator[str]:
    """The rows of `Atlas.query` as lines: `  L24/N5326: label [cluster 3]`."""
    for row in found.iter_rows(named=True):
        cluster = "" if row["top_cluster"] is None else f" [cluster {row['top_cluster']}]"
        yield f"  {row['neuron_id']}: {row['label'] or 'no label'}{cluster}"


def _limit(limit: int) -> int:
    """A row limit within bounds; raises `BadInput` below 1."""
    if limit < 1:
        raise BadInput(f"limit is {limit}; expected at least 1")
    return min(limit, MAX_ROWS)


def _refuse_all_but_reading(cursor: duckdb.DuckDBPyConnection, query: str) -> None:
    """Raise `BadInput` unless the text is one statement that only reads."""
    statements = cursor.extract_statements(query)
    kinds = [str(s.type).rsplit(".", 1)[-1] for s in statements]
    if kinds != ["SELECT"]:
        raise BadInput(f"got {', '.join(kinds) or 'no statement'}; expected one SELECT, as an atlas is read only")
