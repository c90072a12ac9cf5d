"""Edge statistics out of any DuckDB file that has them, for clustering without Dagster.

An edge here is a pair of neurons with sums over all prompts; the edges of one prompt's graph are in `graph_edges`.

Three forms are known: an atlas, the working file of the table assets, and a file whose table `edges` has the columns src_layer,
src_neuron, tgt_layer, tgt_neuron, count, weight_sum, weight_abs_sum and weight_sq_sum (the atlas' own view has them too).
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import polars as pl

from neuron_atlas.adapters.atlas_duckdb.schema import frame_of, sql_text
from neuron_atlas.core.circuits.clustering.bootstrap import MAX_EDGES
from neuron_atlas.core.records import Tables
from neuron_atlas.errors import BadInput

_STATS = {"edge_stats": "edge_stats", "neuron_profiles": "neuron_profiles"}
_GRAPHS = {"graphs": "graphs", "graph_nodes": "nodes", "graph_edges": "edges"}
"""Tables by their names in the file, and in core/tables."""

_SUMS = """
SELECT
    'neuron' AS source_kind, src_layer::SMALLINT AS source_layer, src_neuron::INTEGER AS source,
    'neuron' AS target_kind, tgt_layer::SMALLINT AS target_layer, tgt_neuron::INTEGER AS target,
    count AS n, count AS n_prompts,
    weight_sum / count AS weight_mean, weight_abs_sum / count AS weight_abs_mean,
    sqrt(greatest(weight_sq_sum / count - (weight_sum / count) ** 2, 0)) AS weight_std,
    NULL::DOUBLE AS flow_mean, NULL::DOUBLE AS flow_abs_mean
FROM given.main.edges WHERE count > 0
"""


def read_edge_statistics(path: str | Path) -> Tables:
    """Table edge_stats, and where there neuron_profiles, and graphs, nodes and edges to draw prompts from.

    A file with `edges` only counts instances where an atlas counts prompts, and knows no flow. Raises `BadInput` when there is no
    such file or it has neither.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"there is no {path}; expected an atlas or another DuckDB file with edge statistics")
    connection = duckdb.connect(":memory:")
    try:
        connection.execute(f"ATTACH {sql_text(str(path))} AS given (READ_ONLY, TYPE duckdb)")
        connection.execute("SET enable_external_access = false")
        found = dict(
            connection.execute(
                "SELECT table_name, table_schema FROM information_schema.tables "
                "WHERE table_catalog = 'given' AND table_schema IN ('main', 'stored') ORDER BY table_schema"
            ).fetchall()
        )
        wanted = dict(_STATS)
        if set(_GRAPHS) <= set(found) and 0 < _rows(connection, "graph_edges") <= MAX_EDGES:
            wanted |= _GRAPHS
        tables: dict[str, pl.LazyFrame] = {
            name: frame_of(connection, f'FROM given."{found[stored]}"."{stored}"').lazy()
            for stored, name in wanted.items()
            if stored in found
        }
        if "edge_stats" not in tables and "edges" in found:
            tables["edge_stats"] = frame_of(connection, _SUMS).lazy()
    except duckdb.Error as error:
        raise BadInput(
            f"{path} cannot be read: {str(error).splitlines()[0]}. Expected a DuckDB file with edge statistics"
        ) from error
    finally:
        connection.close()
    if "edge_stats" not in tables:
        raise BadInput(
            f"{path} has neither table edge_stats nor edges; expected an atlas (neuron-atlas build-db makes one)"
        )
    return tables


def _rows(connection: duckdb.DuckDBPyConnection, name: str) -> int:
    return int(connection.execute(f'SELECT count(*) FROM given.main."{name}"').fetchall()[0][0])
