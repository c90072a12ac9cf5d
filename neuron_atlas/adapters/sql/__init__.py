"""SQL: statements that both stores of labels share, and the longer statements of each.

    conditions.py   the conditions of a label search as SQL
    dialects.py     shared text as PostgreSQL and DuckDB take it; parameters are written `:name`
    bm25.sql        the ranking by words, for both
    atlas/build/    the tables and views that an atlas derives when it is built
    atlas/queries/  what `Atlas` reads
    neuron_db/      numbered migrations of NeuronDB

PostgreSQL and DuckDB hold the same label records under the same column names (table `descriptions`), so the conditions and the
ranking by words are one text for both.

Does not belong here: statements of one line, which stay in the file that uses them; vectors, which differ between the two stores.
"""

from neuron_atlas.adapters.sql.conditions import Values, Where, in_layers, where
from neuron_atlas.adapters.sql.dialects import bm25_sql, for_duckdb, for_postgres

__all__ = ["Values", "Where", "bm25_sql", "for_duckdb", "for_postgres", "in_layers", "where"]
