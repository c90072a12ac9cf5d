"""From the graphs of prompt sets to statistics over all of them.

An edge's way from a raw graph to `edge_stats`:

    1. graph_stats.py    reads the graphs of one prompt set and makes all their sums: the tables of asset `graph_stats`
    2. edge_sums.py      sums the edges of these graphs, one row per pair of ends, positions dropped
    3. fixed_point.py    each number enters its sum as an exact integer
    4. edge_packing.py   a sum that follows from fewer numbers is not stored: table `edge_sums`
    5. edge_merging.py   the rows of all prompt sets, unpacked and added, one row per edge
    6. edge_stats.py     means, spread, frequency: table `edge_stats`, with the other tables of that asset

An edge of table `edges` (`raw_graphs`; `graph_edges` in the atlas) joins two nodes at their positions in one prompt's graph; a row
of `edge_stats` (view `edges` of the atlas) joins two neurons, a token and a neuron, or a neuron and an answer over all prompts.

    associations.py          tokens where a neuron fires, answers it acts on, neurons that appear together
    domain_specificity.py    is a neuron specific to one prompt set?
    direct_effect_ratio.py   how much of a neuron's effect skips all later MLPs: exact from sums, and by ablation

Not here: the effects that edges are weighted by (`core/attribution/effects`), clusters of the edges (`core/circuits/clustering`).
"""
