"""Searching labels: the same query, answers and messages whatever store holds the labels.

    search_query.py         what can be asked: text or vector, mode, conditions; what is refused
    search_result.py        what comes back: hits and how they were found
    label_search.py         the flow of a search, and what a store must supply for it
    bm25.py                 the ranking by words: terms of a text, the index, the formula
    rank_fusion.py          one ranking of two, by reciprocal rank
    label_records.py        the rows that are searched, made of the label tables
    label_set_contents.py   all that a search database holds of one model and label version, checked

Does not belong here: statements (`adapters/sql`, `adapters/atlas_duckdb/label_search.py`, `adapters/neuron_db/label_search.py`),
embedders (`adapters/embedder`), which label is shown (`core/labeling/evidence/shown_label.py`), filters of neurons (`../filters`).
"""
