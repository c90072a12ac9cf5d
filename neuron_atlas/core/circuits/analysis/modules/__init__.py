"""The modules of one prompt's graph: neuron instances that work together.

    graph_modules.py      finds them, by the roles of instances or by the flow between them
    split_modules.py      splits them by position, layer, or what they read and write
    module_flow.py        flow between tokens, modules and answers
    logit_lens.py         which tokens a module writes
    concepts.py           which module stands for a concept
    describe_modules.py   each module as it is stored: tokens, members, name, theme

Not here: modules of the whole model (`core/circuits/clustering`), what happens when a module is changed (`interventions`), the flow
along single edges (`core/attribution/effects/edge_flow.py`).
"""
