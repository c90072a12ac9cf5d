"""Faithfulness: are the attributed effects what happens when the real model is changed?

An attribution predicts; an intervention in the model as it is, nothing frozen, measures. Which rule set predicts what:

    protocol        what is changed                                       predicted by a rule set
    patch_output    a corrupt prompt gets one MLP's clean output           Σ (a_clean - a_corrupt) · g_corrupt over its neurons
    ablate_one      one of the top nodes is set to 0                       a · g
    ablate_subset   n of the top nodes at once are set to 0                Σ a · g over them
    keep_top        all but the top n nodes are set to 0                   that nothing changes
    circuit         all neurons outside a circuit get their mean value     that nothing changes (faithfulness, 1)
    complement      the circuit's neurons get their mean value             that nothing is left (completeness, 0)
    edge            one node is set to 0 along its direct paths only       the edge's weight: what a neuron loses
    direct          the same                                               the node's direct effect: what the goal loses

g is the goal's derivative under the rule set, a an activation. Circuits, faithfulness and completeness as in Marks et al. 2024
(arXiv 2403.19647): (F(C) - F(empty)) / (F(M) - F(empty)), with ratios of means over held-out prompts; patching from a corrupt
run as in Jafari et al. 2025 (arXiv 2508.21258).

    evaluate.py         prompts in, table `faithfulness` out
    cases.py            prompts prepared: clean and corrupt runs, and the goal
    gradients.py        g under any rule set
    interventions.py    the real model run with activations replaced
    patching.py         patch_output
    ablation.py         ablate_one, ablate_subset, keep_top
    circuits.py         circuit, complement
    edges.py            edge, direct
    correlations_over_prompts.py  correlations and shares over many prompts, with their intervals
    table_rows.py       measurements as rows of table `faithfulness`

Not here: interventions that people ask for (`core/circuits/analysis/interventions`), scores of labels (`core/labeling/scoring`).
A circuit is meant here as in that paper, a set of neurons for a task; clusters of neurons are in `core/circuits`.
"""
