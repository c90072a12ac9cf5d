"""Commands about graphs of single prompts.

    graph.py           `neuron-atlas graph "PROMPT"`: trace a prompt, show the graph, save it
    validate.py        `neuron-atlas validate FILE...`: check graph files
    graph_labels.py    the labels shown beside a graph's neurons, from the atlas
    special_tokens.py  which tokens of a saved graph are special

Not here: tracing (`core/attribution`), files (`adapters/graphs`), clusters and comparisons of graphs (`cli/circuits`).
"""
