"""What is computed on a frozen model: relevances, effects between nodes, and how much of a graph they explain.

    relevance.py         relevance of every neuron to a goal: one sweep down, through the MLPs
    direct_effects.py    the weights of a graph's edges: direct effects between its nodes, with the MLPs between them cut
    sweep_plan.py        where the sweeps of direct effects meet, and which positions share a buffer
    total_effects.py     effects between nodes along all paths, MLPs included
    graph_scores.py      which edges are kept; conservation, completeness, replacement, influence
    edge_flow.py         how much of the goal passes along each edge of a graph
    answer_relevance.py  relevance of every neuron to each of several answers
    logit_relevance.py   relevance of every neuron to one logit, also while neurons are held at other values

Not here: which neurons become nodes (`select_nodes.py`), what is frozen (`linearisation`), whether effects come true when the
model is changed (`faithfulness`), the same effects summed over many prompts (`core/aggregation/graphs`).
"""
