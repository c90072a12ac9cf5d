"""Texts to unit vectors, on this machine, for searching labels by meaning."""

from neuron_atlas.adapters.embedder.remembered import RememberedEmbedder
from neuron_atlas.adapters.embedder.sentence import SentenceEmbedder, load_embedder, stored_embedder
from neuron_atlas.adapters.embedder.weights import DEFAULT, fetch_weights, find_weights

__all__ = [
    "DEFAULT",
    "RememberedEmbedder",
    "SentenceEmbedder",
    "fetch_weights",
    "find_weights",
    "load_embedder",
    "stored_embedder",
]
