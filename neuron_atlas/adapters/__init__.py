"""Everything outside the process: files, databases, models, vendors. A folder for each outside thing; most fulfil a port of
`core/ports.py`.

    subject_model/     the language model under study: loading, passes, hooks, tokens; one file per model family
    datasets/          prompt sets and text corpora, and the saved state of a pass over a corpus
    graphs/            graph files, and the graphs of a prompt set while it is traced
    tables/            the tables of assets, in Parquet, DuckDB or PostgreSQL
    labels/            labels by people and from elsewhere
    analyses/          study files, and the analyses that wait for the next atlas
    language_model/    the language model that labels, behind OpenAI's interface, with a ledger of paid calls
    embedder/          sentence embedders
    atlas_duckdb/      the published atlas: one DuckDB file
    neuron_db/         the search database in PostgreSQL
    postgres/          the PostgreSQL server, embedded or given
    sql/               SQL that DuckDB and PostgreSQL share
    disk_faults.py     a full or failing disk in one message, whichever library met it
    files.py           atomic writes, checksums, folders
    prompt_entry.py    a prompt as it is written in a prompt set or a study
    yaml_files.py      reading YAML that people write, with errors that name the place
    sqlite_files.py    opening a SQLite file that several processes use

An adapter gets paths, addresses and keys as arguments; it never reads the environment. Not here: what is computed from what is read
(`core`), which adapter a setting chooses (`defs/resources`), Dagster (`defs`).
"""
