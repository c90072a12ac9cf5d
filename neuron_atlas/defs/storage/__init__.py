"""How the tables of assets are stored and recognised again, for the IO managers and for finding what is out of date.

stores.py       one interface to the lake, the working DuckDB file, Postgres and the records of what was published
provenance.py   what a stored partition was made from: code version, fingerprints of resources, content hashes of what it read

Not here: the formats themselves (adapters/tables), the IO managers (defs/io_managers.py), the comparison of provenance
(defs/running/staleness.py).
"""
