"""Graphs as JSON that other people's tools read, and back.

    neuronpedia.py      a graph as Neuronpedia's attribution-graph JSON (schema 1.0.0, and what its viewer needs beyond it)
    older_viewer.py           a graph in the older viewer's form
    graph_rows.py       a graph's frames as rows, floats in their shortest exact form
    node_ids.py         how a node is written: `E_464_1`, `3_77_1`, `33_42_2`, `2_-1_1`
    slugs.py            names for files: letters, digits, `_`, `.` and `-`
    own_metadata.py     the block of our own in `metadata`: what the format has no field for
    pins_and_groups.py  nodes that people pinned or grouped in a viewer, to and from `qParams`
    schema.py           what a document must hold, as types
    reading/            a document to a graph, and what is wrong with it

Everything here is a pure function from values to values. What a format has no field for travels in extra keys, which the schema
allows at every level, so that writing and reading back is the identity.

Not here: files (`adapters/graphs/graph_files.py`), pages (`view`), the choice of a form by a file's name (`graph/serialize.py`).
"""
