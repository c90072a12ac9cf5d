"""One prompt's circuit: from a graph to modules that can be named, tested and compared.

    instances      modules of neuron instances in one graph
    splits         modules cut by what their members do: where they stand, what they read, what they write
    module_flow    what passes between tokens, modules and answers
    lens           which tokens a module writes, read from the weights
    describe       what is said of a module, and what it is called
    steering       neurons set to zero, their mean, a multiple, or what they are on another prompt, beside random sets
    trials         a prompt's modules changed, one after the other
    answers        several answers at once: shared neurons, neurons of one answer, neurons that tell two apart
    alignment      which position of one prompt stands for which of another
    comparison     two graphs side by side; `comparison_record` is the result as it is stored
    synthesis      a language model's account of the circuit, or why there is none
    analyze        all of it for one prompt; `record` is the result as it is stored, `rows` as tables, `report` the page
    study          many analyses of one kind, summed up

Clusters over all prompts are in the folder above; here is one prompt at a time.
"""
