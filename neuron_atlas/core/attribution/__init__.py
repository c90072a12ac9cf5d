"""Attribution: which neurons carried a prompt's answer, and along which edges.

The model is run once. Attention patterns, norm scales and activation factors are frozen at that prompt; what is left is
linear in the residual stream, so every attribution is exact linear algebra (RelP: Jafari et al. 2025, arXiv 2508.21258;
neuron circuits: Arora et al. 2025, arXiv 2601.22594).

    trace.py            prompts in, graphs out: `trace`, `trace_prompt`, `trace_prompts`
    attribute.py        all numbers of recorded prompts: relevances, nodes, edges, inflows
    select_nodes.py     which neurons become nodes of a graph
    total_links.py      the total effects between the nodes of a graph
    traceable_model.py  what attribution needs of a model
    linearisation/      the frozen model: rule sets, folding, freezing, replay, goals
    effects/            relevances, direct effects (the edges' weights: `direct_effects.py`), total effects, flows, scores
    graph/              a graph's frames, its stored tables, its ways to write and show itself
    exchange/           graphs as JSON of this and other tools, written and read
    view/               a graph as a page, and its strongest neurons and edges
    faithfulness/       attributions held against interventions in the real model

Where is an edge weighted? In `effects/direct_effects.py`; which edges are kept: `effects/graph_scores.py`.

Not here: statistics over many graphs (`core/aggregation/graphs`), clusters and analyses of graphs (`core/circuits`), running the
model (`adapters/subject_model`), reading and writing files (`adapters/graphs`). Modules that hold tensors import torch; `trace`,
`total_links`, `select_nodes`, `linearisation/rules` and `effects/sweep_plan` do not, so that definitions load without it.
"""
