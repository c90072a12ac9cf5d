"""One prompt's graph: its frames, its tables, and its ways to write and show itself.

    build_graphs.py  from encoded prompts to graphs: one forward pass, numbers computed, numbers made into frames
    traced_graph.py  the graph as people use it: `to_neuronpedia`, `save`, `to_html`
    serialize.py     a graph as the text of a file
    tables.py        graphs as the tables of asset `raw_graphs`

Not here: the plain record (`AttributionGraph` in `core/records.py`), the formats (`exchange`), the page (`view`), files on disk
(`adapters/graphs`).
"""
