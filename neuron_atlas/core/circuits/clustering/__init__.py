"""Clusters of the whole model: which neurons work together over all prompts.

    clusters.py               everything below put together: the tables of asset `clusters`. Start here
    flow_graph.py             edge statistics to a flow graph: what a link weighs, signs, hubs
    find_modules.py           the modules of a flow graph, with paths and numbers
    community_detection.py    the algorithms: Infomap, Leiden, the map equation
    stability.py              how much of a module other runs find again
    bootstrap.py              resampled prompts and the edges they give
    profile_clusters.py       clusters by attribution profile: the tables of asset `profile_clusters`
    attribution_profiles.py   which tokens drive a neuron and which logits it acts on, and how alike two neurons are in this
    mutual_information.py     how far two clusterings agree

Not here: names of clusters (`naming`), modules of one prompt's graph (`analysis/modules`), the edge statistics themselves
(`core/aggregation/graphs`).
"""
