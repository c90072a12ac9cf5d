"""NeuronDB: descriptions of neurons in PostgreSQL, searchable by meaning and by words."""

from neuron_atlas.adapters.neuron_db.edit import Key
from neuron_atlas.adapters.neuron_db.label_sets import find_label_set, list_label_sets
from neuron_atlas.adapters.neuron_db.load import load_contents, load_descriptions
from neuron_atlas.adapters.neuron_db.open import NeuronDb, NeuronRecord, open_neuron_db
from neuron_atlas.adapters.neuron_db.recall import check_recall
from neuron_atlas.adapters.neuron_db.records import Description, LabelSet, LoadReport, RecallReport
from neuron_atlas.adapters.neuron_db.schema import check_schema, migrate, schema_version
from neuron_atlas.adapters.neuron_db.search import search

__all__ = [
    "Description",
    "Key",
    "LabelSet",
    "LoadReport",
    "NeuronDb",
    "NeuronRecord",
    "RecallReport",
    "check_recall",
    "check_schema",
    "find_label_set",
    "list_label_sets",
    "load_contents",
    "load_descriptions",
    "migrate",
    "open_neuron_db",
    "schema_version",
    "search",
]
