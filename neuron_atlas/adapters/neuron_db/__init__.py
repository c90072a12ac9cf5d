"""NeuronDB: label records of neurons in PostgreSQL, searchable by meaning and by words.

    database.py         `open_neuron_db` and `NeuronDb`: every call is one transaction
    schema.py           numbered migrations (`adapters/sql/neuron_db`)
    stored_records.py   label sets, label records, reports
    label_sets.py       which label sets are loaded, and whether the search index of one may be used
    load.py             a whole label set in, all or nothing
    edit.py             single label records in and out
    label_search.py     labels by meaning, words or both
    nearest.py          the vectors nearest to one, by the HNSW index or an exact scan
    recall.py           the search index checked against an exact scan
    neuron_facts.py     what filters and views need to know (`NeuronDb.known`)
    export.py           a label set as files, and back
    transluce.py        import of a NeuronDB of Transluce

In the database a label record is a row of `descriptions`.

Does not belong here: the server and its connections (`adapters/postgres`), the Dagster tables in PostgreSQL
(`adapters/tables/postgres_tables.py`), the flow of a search (`core/publication/search`).
"""

from neuron_atlas.adapters.neuron_db.database import NeuronDb, NeuronRecord, open_neuron_db
from neuron_atlas.adapters.neuron_db.label_search import search
from neuron_atlas.adapters.neuron_db.label_sets import find_label_set, list_label_sets
from neuron_atlas.adapters.neuron_db.load import load_label_set, load_labels
from neuron_atlas.adapters.neuron_db.recall import check_recall
from neuron_atlas.adapters.neuron_db.schema import check_schema, migrate, schema_version
from neuron_atlas.adapters.neuron_db.stored_records import LabelRecord, LabelSet, LoadReport, RecallReport

__all__ = [
    "Description",
    "LabelRecord",
    "LabelSet",
    "LoadReport",
    "NeuronDb",
    "NeuronRecord",
    "RecallReport",
    "check_recall",
    "check_schema",
    "find_label_set",
    "list_label_sets",
    "load_label_set",
    "load_labels",
    "migrate",
    "open_neuron_db",
    "schema_version",
    "search",
]

Description = LabelRecord
"""The earlier name of `LabelRecord`."""
