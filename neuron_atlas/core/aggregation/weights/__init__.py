"""What the weights alone say of a neuron; no prompt and no text is run.

    projections.py    tokens that a neuron promotes and suppresses, tokens whose embeddings drive it
    weight_edges.py   the later neurons it would excite or inhibit
    mlp_formula.py    the MLP in numpy: input norm, gate, activation function

Not here: whether measurements agree (`corpora/projection_agreement.py`), the weights themselves
(`adapters/subject_model/weights.py`).
"""
