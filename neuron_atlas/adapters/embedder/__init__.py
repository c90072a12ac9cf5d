"""Embedders: texts to unit vectors, for searching labels by meaning. They fulfil `ports.Embedder`.

    sentence.py       all-MiniLM-L6-v2 or another BERT sentence model, from a folder of weights: the default
    bert.py           its encoder in numpy
    weights.py        where the weights come from, and that they are the published ones
    remote.py         an embedding model on a server with OpenAI's interface (imported where it is used: its client loads slowly)
    vector_cache.py   each text embedded once, its vector kept in a SQLite file
    __main__.py       `python -m neuron_atlas.adapters.embedder`: fetch the weights into the Python environment

Not here: what of a label is embedded (`core/publication/search/label_records.py`), where vectors are searched (`neuron_db`,
`atlas_duckdb`).
"""

from neuron_atlas.adapters.embedder.sentence import SentenceEmbedder, load_embedder, stored_embedder
from neuron_atlas.adapters.embedder.vector_cache import CachedEmbedder
from neuron_atlas.adapters.embedder.weights import DEFAULT, REMOTE, fetch_weights, find_weights

__all__ = [
    "DEFAULT",
    "REMOTE",
    "CachedEmbedder",
    "SentenceEmbedder",
    "fetch_weights",
    "find_weights",
    "load_embedder",
    "stored_embedder",
]
