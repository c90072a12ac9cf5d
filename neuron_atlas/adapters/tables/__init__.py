"""Where the declared tables of assets are kept, a partition at a time, with a manifest of each.

lake.py                  Parquet files below a folder; publishing, reading, and finding damage
manifest.py              what is written of a partition of the lake, and the files of one version
partitioned_tables.py    what tables in a database have in common, whichever database it is
duckdb_tables.py         the same in a DuckDB file
postgres_tables.py       the same in PostgreSQL

Not here: what a table is (core/tables), how frames are checked and hashed (core/tables/storage.py), the published atlas and search
database (adapters/atlas_duckdb, adapters/neuron_db), and how Dagster chooses between the three (defs/storage/stores.py).
"""
