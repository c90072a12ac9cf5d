"""Which label sets a NeuronDB holds, and whether the index of one may be used."""

from __future__ import annotations

from psycopg.rows import class_row

from neuron_atlas.adapters.neuron_db.stored_records import LabelSet
from neuron_atlas.adapters.postgres import Connection
from neuron_atlas.core.publication.search.search_result import RECALL_NEEDED
from neuron_atlas.errors import BadInput, Incomplete, UnknownName


def list_label_sets(connection: Connection) -> list[LabelSet]:
    """Every loaded label set, by model and version."""
    with connection.cursor(row_factory=class_row(LabelSet)) as cursor:
        return cursor.execute(
            "select label_set, model, model_id, revision, version, embedder, dimension, content_hash, n_descriptions, "
            "n_unlabeled, recall, n_documents, mean_length from neuron_db.label_sets join neuron_db.models using (model) "
            "order by model_id, revision, version"
        ).fetchall()


def find_label_set(connection: Connection, *, model: str | None = None, version: str | None = None) -> LabelSet:
    """The label set of a model (id or revision) and version; either may be left out where there is only one to choose.

    Raises `UnknownName` when there is none such, `BadInput` when several fit, `Incomplete` when nothing is loaded.
    """
    loaded = list_label_sets(connection)
    if not loaded:
        raise Incomplete("NeuronDB holds no labels yet; run: neuron-atlas build-db")
    fitting = [s for s in loaded if model is None or model in (s.model_id, s.revision)]
    if not fitting:
        raise UnknownName("model", str(model), {s.model_id for s in loaded})
    named = [s for s in fitting if version is None or s.version == version]
    if not named:
        raise UnknownName("label version", str(version), {s.version for s in fitting})
    if len(named) > 1:
        choices = ", ".join(f"model {s.model_id} ({s.revision[:8]}) version {s.version}" for s in named)
        raise BadInput(f"several label sets fit; name the model and the version. There are: {choices}")
    return named[0]


def index_problem(connection: Connection, label_set: LabelSet) -> str | None:
    """Why the search index may not be used, as a sentence for the reader; None when it may."""
    if not has_index(connection, label_set):
        return f"label set {label_set.version!r} has no search index; searched exactly, which is slower. Load the labels again"
    if label_set.recall is not None and label_set.recall < RECALL_NEEDED:
        return (
            f"the search index of label set {label_set.version!r} found only {label_set.recall:.0%} of the true neighbours when "
            "it was checked; searched exactly, which is slower. Load the labels again"
        )
    return None


def has_index(connection: Connection, label_set: LabelSet) -> bool:
    """Whether the label set's embeddings have a valid HNSW index."""
    row = connection.execute(
        "select bool_or(indisvalid and indisready and indpred is null) from pg_index join pg_class on pg_class.oid = indexrelid "
        "join pg_am on pg_am.oid = relam where amname = 'hnsw' and indrelid = to_regclass(%s)",
        [f"neuron_db.embeddings_{label_set.label_set}"],
    ).fetchone()
    return row == (True,)
