"""Commands that read or exchange what was published, one file each.

    summary.py            `summary`: what an atlas holds
    search.py             `search`: labels by meaning and by words
    query.py              `query`: neurons by words, or a SELECT
    neuron.py             `neuron`: everything about one neuron
    view.py               `view`: talk to the model and watch its neurons
    view_session.py       what each line of such a conversation does
    export_labels.py      `export`: a label set as files
    import_labels.py      `import`: labels from files, folders, databases
    import_databases.py   `import` of whole label sets

Does not belong here: queries and files (`adapters/atlas_duckdb`, `adapters/neuron_db`, `adapters/labels`), how tables and JSON are
printed (`cli/printing.py`), which store the settings name (`cli/open_stores.py`).
"""
