"""The published atlas: one DuckDB file with everything, built whole and read only.

`build_atlas` writes it beside the old one and swaps them in one step; `open_atlas` serves it to notebooks, the command line and
the API. Inside are all tables of `core/tables` (the sums of single prompt sets left out, and the raw graphs' nodes and edges
under the names `graph_nodes` and `graph_edges`) and, for people: `neurons` (one row per neuron), `neuron_labels`, the view `edges`,
`vocabulary`, `metadata`, and the postings of full-text search as plain tables (no extension has to be installed).
"""

from neuron_atlas.adapters.atlas_duckdb.build import AtlasReport, build_atlas
from neuron_atlas.adapters.atlas_duckdb.edge_statistics import read_edge_statistics
from neuron_atlas.adapters.atlas_duckdb.neuron_card import NeuronCard
from neuron_atlas.adapters.atlas_duckdb.reader import Atlas, open_atlas, query_lines
from neuron_atlas.adapters.atlas_duckdb.schema import table_hashes

__all__ = [
    "Atlas",
    "AtlasReport",
    "NeuronCard",
    "build_atlas",
    "open_atlas",
    "query_lines",
    "read_edge_statistics",
    "table_hashes",
]
