"""One pass of the model over a text corpus.

    activation_stats.py       the pass, and the tables of asset `activation_stats`. Start here
    corpus_pass.py            everything counted during the pass, saved and restored
    distributions.py          moments, histogram, density and quantiles of each neuron's activations
    exemplars.py              the texts that show a neuron: top, random, near misses
    correlations.py           which neurons rise and fall together
    projection_agreement.py   do the projections from the weights predict the measured activations and effects?

Not here: reading corpus files and the file of an interrupted pass (`adapters/datasets`), the projections (`weights`).
"""
