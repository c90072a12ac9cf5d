"""Commands about statistics.

    aggregate.py   `neuron-atlas aggregate`: the stage, or the statistics of a folder of graph files

Not here: the statistics (`core/aggregation`), reading a folder in batches (`adapters/graphs/folder_statistics.py`).
"""
