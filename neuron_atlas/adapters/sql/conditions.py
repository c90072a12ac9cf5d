"""Filters as an SQL condition over descriptions: the one place where a filter becomes SQL.

A search takes any `Where`, so a richer filter only has to make one. Values are bound, never written into the text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from neuron_atlas.core.publication.search.records import Filters

Values: TypeAlias = dict[str, object]
KEYWORD = "lower(label || ' ' || coalesce(description, '') || ' ' || array_to_string(tokens, ' '))"
"""What a keyword is looked for in."""


@dataclass(frozen=True, slots=True)
class Where:
    """A condition on the columns of `descriptions`, true for what passes; `values` are its parameters, `:name` in the text.

    Names must differ from those of the searches: words, n_words, n_documents, mean_length, limit, vector, label_set, model.
    """

    text: str = "true"
    values: Mapping[str, object] = field(default_factory=dict[str, object])

    def __and__(self, other: Where) -> Where:
        """Both hold. The parameters of the two must have different names or equal values."""
        return Where(f"({self.text}) and ({other.text})", {**self.values, **other.values})


def where(filters: Filters, *, neurons: str) -> Where:
    """The condition of `filters`; `neurons` is the relation (layer, neuron, cluster_path) of the store."""
    clauses: list[str] = []
    values: Values = {}

    def add(clause: str, **bound: object) -> None:
        clauses.append(clause)
        values.update(bound)

    low, high = filters.layers or (None, None)
    if low is not None:
        add("layer >= :layer_from", layer_from=low)
    if high is not None:
        add("layer <= :layer_to", layer_to=high)
    if filters.neurons is not None:
        add(
            "(layer, neuron) in (select unnest(cast(:of_layers as int[])), unnest(cast(:of_neurons as int[])))",
            of_layers=[n.layer for n in filters.neurons],
            of_neurons=[n.neuron for n in filters.neurons],
        )
    if filters.polarity is not None:
        add("polarity = :polarity", polarity=filters.polarity)
    if filters.side is not None:
        add("side = :side", side=filters.side)
    if filters.min_score is not None:
        add("score >= :min_score", min_score=filters.min_score)
    if filters.type is not None:
        add("type = :type", type=filters.type)
    if filters.labeler is not None:
        add("labeler = :labeler", labeler=filters.labeler)
    elif filters.only_preferred:
        add("is_preferred")
    if filters.cluster is not None:
        inside = "cluster_path = :cluster or starts_with(cluster_path, :cluster || '.')"
        add(f"(layer, neuron) in (select layer, neuron from {neurons} where {inside})", cluster=filters.cluster)
    if filters.keyword is not None:
        add(f"strpos({KEYWORD}, lower(:keyword)) > 0", keyword=filters.keyword)
    return Where(" and ".join(clauses) or "true", values)
