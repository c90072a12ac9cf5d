"""Neurons and modules changed in the real model.

    steering.py               `steer`: neurons set to zero, their mean, a multiple, or their activation on another prompt, beside
                              random sets changed alike
    module_interventions.py   each module of a prompt set to zero, or to its activations on a donor prompt
    study_summary.py          what these changes did over all prompts of a study

Not here: how an edit is applied in a forward pass (`adapters/subject_model/hooks.py`), steering while the model writes
(`core/publication/view`), ablation scores of cluster names (`core/circuits/naming`).
"""
