"""Aggregation: from many graphs and texts to what is known of each neuron and edge.

The idea: everything counted over graphs is a sum of exact integers. A float enters a sum as round(x * 2**30), so any order
of prompts, shards, retries or threads gives the same bytes, and two parts merge by adding. Rates, means and scores are
computed once, from the merged sums (`edge_stats.edge_statistics`).

    graph_stats    one prompt set's graphs -> mergeable sums
    edge_stats     many sums -> one; sums -> statistics of neurons and edges
    projections    weights alone -> tokens a neuron promotes, tokens that would drive it
    direct_effect  direct-effect ratio: exact from graphs, and by ablating the real model
    activations    one pass over a text corpus -> distributions and exemplars
    validation     do the projections predict the measured activations?

Here belongs what reduces observations. What explains them in words is `labeling`; what groups neurons is `circuits`.
"""
