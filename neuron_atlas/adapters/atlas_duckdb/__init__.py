"""The published atlas: one DuckDB file with everything, built whole and read only.

    schema.py             which tables are in the file, its version, how it is opened read-only
    build.py              `build_atlas`: writes a new file beside the old one and swaps them in one step
    search_index.py       the tables that make it searchable, written by the build
    integrity_checks.py   what must hold before the file is published
    reader.py             `open_atlas` and `Atlas`: search, look up, browse, SQL
    neuron_card.py        everything about one neuron
    summary.py            the atlas in numbers
    neuron_search.py      neurons by words (`Atlas.search`)
    label_search.py       labels by meaning, words or both (`Atlas.labels`)
    neuron_facts.py       what filters and views need to know (`Atlas.known`)
    read_edge_statistics.py    edge statistics of an atlas or a similar file, for clustering
    graph_neuron_labels.py   what the atlas says of the neurons of a graph
    label_set.py          the labels of a file, for a search database or an export

In the file are all tables of `core/tables` (the sums of single prompt sets left out, and the raw graphs' nodes and edges under the
names `graph_nodes` and `graph_edges`) and, for people: `neurons` (one row per neuron), `neuron_labels`, the view `edges`
(neuron to neuron, over all prompts), `vocabulary`, `metadata`, and the postings of full-text search as plain tables (no extension
has to be installed).

Does not belong here: the working tables of the Dagster assets (`adapters/tables`), the flow of a label search
(`core/publication/search`), longer statements (`adapters/sql/atlas`).
"""

from neuron_atlas.adapters.atlas_duckdb.build import AtlasReport, build_atlas
from neuron_atlas.adapters.atlas_duckdb.neuron_card import NeuronCard
from neuron_atlas.adapters.atlas_duckdb.read_edge_statistics import read_edge_statistics
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
