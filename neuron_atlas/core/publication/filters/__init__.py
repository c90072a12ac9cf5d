"""Filters (`na.filters`): choosing neurons, instances and tokens by what is known of them and by what they do in a text.

    filter_classes.py   what filters are: a union of small classes that combine by `&`, `|`, `~` and go to JSON and back
    evaluate.py         the items that a filter selects
    selection.py        a set of items as packed bits
    neuron_facts.py     what evaluating needs to know of the neurons: labels, modules, quantiles
    reading.py          what it needs to know of the text: activations and relevance
    text_form.py        the form in which people type filters

Does not belong here: the conditions of a label search (`../search/search_query.py`), reading neuron facts from a store
(`adapters/atlas_duckdb/neuron_facts.py`, `adapters/neuron_db/neuron_facts.py`), layer ranges as text (`core/layer_ranges.py`).
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
