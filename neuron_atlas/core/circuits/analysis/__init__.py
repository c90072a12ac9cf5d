"""One prompt's circuit: from a graph to modules that can be named, tested and compared.

    instances      modules of neuron instances in one graph
    steering       set a module to zero, its mean, a multiple, or what it is on another prompt, and see what the model says

Clusters over all prompts are in the folder above; here is one prompt at a time.
"""
