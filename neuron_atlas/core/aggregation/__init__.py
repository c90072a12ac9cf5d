"""Aggregation: statistics of every neuron and edge, from many graphs, from texts, and from the weights alone.

    graphs/              the graphs of prompt sets -> sums -> statistics of neurons and edges; direct-effect ratios
    corpora/             one pass over a text corpus -> distributions, exemplars, correlated neurons
    weights/             the weights -> tokens that a neuron promotes, tokens that drive it, edges between layers
    readable_tokens.py   token ids as people read them

Everything counted over graphs is a sum of exact integers: a float enters a sum as round(x * 2**30), so any order of prompts,
shards, retries or threads gives the same bytes, and two parts merge by adding. Rates, means and scores are computed once, from
the merged sums (`graphs/edge_stats.py`).

Here is what reduces observations to numbers. Not here: what puts them in words (`core/labeling`), what groups neurons
(`core/circuits`), single graphs (`core/attribution`), the tables' declarations (`core/tables/aggregation.py`).
"""
