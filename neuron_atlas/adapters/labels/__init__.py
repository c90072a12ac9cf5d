"""Labels that cannot be computed again: given by people, or imported.

    label_store.py    the SQLite file that keeps them, one model revision apart from another
    label_files.py    files of labels from elsewhere (JSON, Neuronpedia and Goodfire JSONL), read as `ImportedLabel`s

Not here: how an imported text becomes a label (`core/labeling/labelers/imported.py`), labels made by the labeling assets (they
are tables, `adapters/tables`), label sets of a search database (`adapters/neuron_db`).
"""
