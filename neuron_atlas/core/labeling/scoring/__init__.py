"""How good labels are: held-out scores against the score of wrong labels, and reports on a labeler.

    score.py                   table `label_scores` of one layer. Start here
    score_input.py             detection, fuzzing, simulation: does the label predict when the neuron fires?
    score_output.py            intervention: does firing the neuron raise the label's tokens, more than other neurons do?
    activation_simulator.py    the activation of every token that a label predicts
    measures.py                average precision, correlation, bootstrap intervals
    coverage_report.py         labeled, unanswered, left out, abstained, and mean scores, per pass and layer
    calibration.py             stated confidence against measured score
    neighbour_benefit.py       the same neurons labeled with and without neighbour labels
    prompt_injection.py        how often a labeler follows an instruction hidden in the evidence

Not here: ranks, Wilson intervals and other shared statistics (`core/statistics.py`), or which score stands for a label
(`evidence/precedence.py`).
"""
