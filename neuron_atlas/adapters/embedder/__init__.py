"""Texts to unit vectors, for searching labels by meaning: on this machine, or on a server by choice (remote.py, imported where it
is wanted: its client loads slowly)."""

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
