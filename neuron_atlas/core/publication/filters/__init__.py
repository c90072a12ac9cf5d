"""Filters: choosing neurons, instances and tokens by what is known of them and by what they do in a text.

`algebra` is what filters are, `selection` how sets of items are held, `evaluate` what a filter finds, `words` the form people type.
"""

from neuron_atlas.core.publication.filters.evaluate import found_by, select
from neuron_atlas.core.publication.filters.filter_classes import (
    EVERYTHING,
    And,
    Attribution,
    Cluster,
    Description,
    Filter,
    Ids,
    Item,
    Layers,
    Neurons,
    Not,
    Or,
    Polarity,
    Quantile,
    Tokens,
    parts_of,
    read_filter,
)
from neuron_atlas.core.publication.filters.selection import Selection, Size
from neuron_atlas.core.publication.filters.text_form import TERMS, filter_of, text_of

__all__ = [
    "EVERYTHING",
    "TERMS",
    "And",
    "Attribution",
    "Cluster",
    "Description",
    "Filter",
    "Ids",
    "Item",
    "Layers",
    "Neurons",
    "Not",
    "Or",
    "Polarity",
    "Quantile",
    "Selection",
    "Size",
    "Tokens",
    "filter_of",
    "found_by",
    "parts_of",
    "read_filter",
    "select",
    "text_of",
    "words_of",
]

words_of = text_of
"""The earlier name of `text_of`."""
