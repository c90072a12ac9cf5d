"""NeuronDB: descriptions of neurons in PostgreSQL, searchable by meaning and by words."""

from neuron_atlas.adapters.neuron_db.database import NeuronDb, NeuronRecord, open_neuron_db
from neuron_atlas.adapters.neuron_db.label_search import search
from neuron_atlas.adapters.neuron_db.label_sets import find_label_set, list_label_sets
from neuron_atlas.adapters.neuron_db.load import load_label_set, load_labels
from neuron_atlas.adapters.neuron_db.recall import check_recall
from neuron_atlas.adapters.neuron_db.schema import check_schema, migrate, schema_version
from neuron_atlas.adapters.neuron_db.stored_records import LabelRecord, LabelSet, LoadReport, RecallReport

__all__ = [
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
