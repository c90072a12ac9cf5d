"""From a file's bytes to a graph, and what is wrong with them.

    parsing.py         bytes to a document: bounded, typed, faults named
    node_kinds.py      a document's nodes by what they become, its links placed between them
    missing_values.py  what a document leaves out and its links imply
    read_document.py   a document to a graph: this project's, circuit-tracer's, Neuronpedia's or the older form
    checks.py          what is wrong with a document, level by level: schema, viewer, lossless

Not here: writing a document (`exchange`), opening a file (`adapters/graphs/graph_files.py`).
"""
