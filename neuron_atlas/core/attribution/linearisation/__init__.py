"""The linear model of one prompt: what is held constant, and what that leaves.

    rules.py          the named rule sets: which factors of the model are frozen
    fold.py           norms folded into the matrices beside them, once per model
    freeze.py         what one forward pass records, and the linear model frozen from it
    replay.py         the frozen model run with embeddings, neurons and constants kept apart; frozen attention
    goal.py        the goal of a graph: traced logits with their weights
    torch_threads.py  one torch thread for small models

Not here: what is computed on the frozen model (`effects`), and the forward pass itself (`adapters/subject_model`).
"""
