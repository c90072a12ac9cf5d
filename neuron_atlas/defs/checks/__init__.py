"""Asset checks.

before_storing.py   conditions on the tables an asset has computed; a blocking one that fails keeps them from being stored
stored.py           conditions on what is stored: checksums, coverage, labels out of date, recall of the vector index

Not here: column types, keys and missing values of a table (core/tables/declare.py), the checks of an atlas file while it is built
(adapters/atlas_duckdb).
"""
