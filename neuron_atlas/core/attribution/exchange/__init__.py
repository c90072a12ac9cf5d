"""Graphs as JSON that other people's tools read, and back.

    ids.py           how a node is written: `E_464_1`, `3_77_1`, `33_42_2`, `2_-1_1`
    rows.py          a graph's frames as rows, floats in their shortest exact form
    slugs.py         names for files: letters, digits, `_`, `.` and `-`
    provenance.py    the block of our own in `metadata`: what the format has no place for
    neuronpedia.py   a graph as Neuronpedia's attribution-graph JSON (schema 1.0.0 and its viewer's unwritten rules)
    legacy.py        a graph in the older viewer's form
    documents.py     a graph as the text of a file
    shape.py         what a document must hold, as types
    parsing.py       bytes to a document: bounded, typed, faults named
    sorting.py       a document's nodes by kind, its links placed between them
    estimates.py     what a document leaves out and its links imply
    reader.py        a document to a graph: this project's, circuit-tracer's or the older form
    checks.py        what is wrong with a document, level by level: schema, viewer, lossless

Everything here is a pure function from values to values; files are read and written in `adapters/neuronpedia_json.py`.
What a format has no field for travels in extra keys, which the schema allows at every level, so that writing and reading
back is the identity.
"""
