"""Labeling: what each neuron does when it fires (outputs) and what makes it fire (inputs), and how good these labels are.

    label_layer.py      one layer of one pass: evidence, labeler, rows of the table. Start here
    labeler.py          the port that every labeler fulfils
    labeling_order.py         in which order a layer's neurons are labeled, so that a budget is spent on the most useful
    given_labels.py     labels by people and imported ones as rows, kept beside those made here
    hand_labeling_state.py    the state of labeling by hand
    evidence/           what a labeler is shown, what it answers, and which label is shown of several (`shown_label.py`)
    labelers/           who labels: rules, language model, given labels only. A new labeler goes here
    scoring/            held-out scores, their nulls, and reports on a labeler

Imports go evidence < scoring < labelers: the rules try their hypotheses with the simulator that scores labels. Not here: clients
of language models (`adapters/language_model`), the store of given labels (`adapters/labels`), names of clusters
(`core/circuits/naming`), search among labels (`core/publication/search`), the assets (`defs/assets/labeling.py`).
"""
