"""Commands about circuits.

    cluster.py             `neuron-atlas cluster`: clusters of the model, of a file with edge statistics, or of one graph
    analyze.py             `neuron-atlas analyze`: the circuit of a prompt or of a saved graph
    analyze_study.py       the same for the prompts of a study (`--config`), with their summary
    analysis_run.py        what these two share: the model, the labels, the language model, showing the result
    compare.py             `neuron-atlas compare A B`: two graphs
    analysis_files.py      the files that an analysis or study writes
    analysis_printing.py   analyses, studies and comparisons on the terminal

Not here: clustering and analyzing (`core/circuits`), analyses kept for the atlas (`adapters/analyses`).
"""
