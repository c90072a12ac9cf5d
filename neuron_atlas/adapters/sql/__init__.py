"""SQL that several stores share, in the dialect they have in common; parameters are written `:name`.

Postgres and DuckDB hold the same descriptions under the same column names, so a filter and the ranking by words are one text for
both. What differs (parameter style, vectors) is translated here or stays in the adapter.
"""

from neuron_atlas.adapters.sql.conditions import Values, Where, in_layers, where
from neuron_atlas.adapters.sql.dialects import bm25_sql, for_duckdb, for_postgres

__all__ = ["Values", "Where", "bm25_sql", "for_duckdb", "for_postgres", "in_layers", "where"]
