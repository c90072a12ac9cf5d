"""Graphs on disk.

    graph_files.py        graph files (JSON, HTML): one is written, read or checked, many are read in turn
    shards.py             the graphs of a prompt set while it is traced: finished shards are kept when a run is interrupted
    folder_statistics.py  the statistics of a folder of graph files, in batches that are kept when a run is interrupted

Not here: the forms of graph files (`core/attribution/exchange`), finished tables (`adapters/tables/lake.py`), the atlas
(`adapters/atlas_duckdb`).
"""
