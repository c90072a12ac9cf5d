"""Commands about circuits.

    cluster.py             `neuron-atlas cluster`: clusters of the model, of a file with edge statistics, or of one graph
    analyze.py             `neuron-atlas analyze`: the circuit of a prompt, of a study or of a saved graph
    compare.py             `neuron-atlas compare A B`: two graphs
    analysis_files.py      the files an analysis or study leaves
    analysis_printing.py   analyses, studies and comparisons on the terminal

Not here: clustering and analyzing (`core/circuits`), analyses kept for the atlas (`adapters/analyses`).
"""
