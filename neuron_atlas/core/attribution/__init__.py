"""Attribution: which neurons carried a prompt's answer, and along which edges.

The model is run once. Attention patterns, norm scales and activation factors are frozen at that prompt; what is left is
linear in the residual stream, so every attribution is exact linear algebra (RelP: Jafari et al. 2025, arXiv 2508.21258;
neuron circuits: Arora et al. 2025, arXiv 2601.22594).

    rules.py    which factors of the MLP are frozen, by name
    fold.py     norms folded into the matrices that read them, once per model
    record.py   one forward pass, and the linear model that is frozen from it
    targets.py  what is explained: logits and their weights in the goal
    nodes.py    relevance of every neuron: one sweep down, through the MLPs
    select.py   which neurons become nodes
    plan.py     where up and down meet, and how positions are bundled
    sweep.py    direct effects between nodes: sources go up, targets go down, one product joins them
    total.py    the same through the MLPs: total effects
    replay.py   embeddings, neurons and constants replayed apart: the exact inflow of every target
    scores.py   conservation, completeness, replacement, influence
    trace.py    all of it: a prompt in, a graph out (explain.py computes, layout.py makes its frames)

Modules that hold tensors import torch; `rules`, `select`, `plan` and `trace` do not, so that definitions load without it.
"""
