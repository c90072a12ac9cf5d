"""What is computed: values in, values out. No network, clock, environment or Dagster, and no files but those that a person asks an
object to write or read: `TracedGraph.save`, and `save` and `load` of `NeuronView`.

    attribution/ aggregation/ labeling/ circuits/ publication/   the five stages, in their order
    tables/             the declaration of every table, and how its rows are checked and hashed
    records.py          the plain values that modules pass to each other
    ports.py            what is needed of the outside, as small Protocols that adapters fulfil
    llm_requests.py     a request to a language model, and its answer
    layer_ranges.py     layers as people write them: 5, 3..12, 2,4..6
    statistics.py       ranks and rank correlation, the interval of a share, cumulative shares
    hashing.py          content hashes
    json_types.py       the types of JSON values

Not here: reading and writing (`adapters`), settings, what Dagster does with the results (`defs`), printing (`cli`).
"""
