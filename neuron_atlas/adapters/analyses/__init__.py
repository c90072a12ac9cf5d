"""Analyses of circuits on disk.

    study_config.py     study files (YAML): the prompts of a study, how they are traced and analyzed
    analysis_store.py   finished analyses, one JSON file each, which the next atlas takes in

Not here: analyzing (`core/circuits/analysis`), the files that `neuron-atlas analyze` writes for its user (`cli/circuits`).
"""
