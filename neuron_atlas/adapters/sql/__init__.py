"""SQL that several stores share, in the dialect they have in common; parameters are written `:name`.

Postgres and DuckDB hold the same descriptions under the same column names, so a filter and the ranking by words are one text for
both. What differs (parameter style, vectors) is translated here or stays in the adapter.
"""

from neuron_atlas.adapters.sql.conditions import Values, Where, where
from neuron_atlas.adapters.sql.dialects import for_duckdb, for_postgres, words_sql

__all__ = ["Values", "Where", "for_duckdb", "for_postgres", "where", "words_sql"]
