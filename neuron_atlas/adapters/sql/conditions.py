"""The conditions of a label search as SQL over the label records: the one place where they become SQL. Values are bound, never
written into the text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from neuron_atlas.core.layer_ranges import LayerRanges
from neuron_atlas.core.publication.search.search_query import LabelConditions

Values: TypeAlias = dict[str, object]
KEYWORD = "lower(label || ' ' || coalesce(description, '') || ' ' || array_to_string(tokens, ' '))"
"""What a keyword is looked for in."""


@dataclass(frozen=True, slots=True)
class Where:
    """A condition on the columns of a label record, true for what is wanted; `values` are its parameters, `:name` in the text.

    Names must differ from those of the searches: words, n_words, n_documents, mean_length, limit, vector, label_set, model.
    """

    text: str = "true"
    values: Mapping[str, object] = field(default_factory=dict[str, object])


def where(conditions: LabelConditions, *, neurons: str) -> Where:
    """The SQL of `conditions`; `neurons` is the relation (layer, neuron, cluster_path) of the store."""
    clauses: list[str] = []
    values: Values = {}

    def add(clause: str, **bound: object) -> None:
        clauses.append(clause)
        values.update(bound)

    if conditions.layers is not None:
        selected = in_layers(LayerRanges.of(conditions.layers))
        add(selected.text, **selected.values)
    if conditions.neurons is not None:
        add(
            "(layer, neuron) in (select unnest(cast(:of_layers as int[])), unnest(cast(:of_neurons as int[])))",
            of_layers=[n.layer for n in conditions.neurons],
            of_neurons=[n.neuron for n in conditions.neurons],
        )
    if conditions.polarity is not None:
        add("polarity = :polarity", polarity=conditions.polarity)
    if conditions.side is not None:
        add("side = :side", side=conditions.side)
    if conditions.min_score is not None:
        add("score >= :min_score", min_score=conditions.min_score)
    if conditions.type is not None:
        add("type = :type", type=conditions.type)
    if conditions.labeler is not None:
        add("labeler = :labeler", labeler=conditions.labeler)
    elif conditions.only_preferred:
        add("is_preferred")
    if conditions.cluster is not None:
        inside = "cluster_path = :cluster or starts_with(cluster_path, :cluster || '.')"
        add(f"(layer, neuron) in (select layer, neuron from {neurons} where {inside})", cluster=conditions.cluster)
    if conditions.keyword is not None:
        add(f"strpos({KEYWORD}, lower(:keyword)) > 0", keyword=conditions.keyword)
    return Where(" and ".join(clauses) or "true", values)


def in_layers(layers: LayerRanges) -> Where:
    """The condition that column `layer` is in one of the ranges."""
    ends: Values = {}
    choices: list[str] = []
    for place, (first, last) in enumerate(layers.ranges):
        parts: list[str] = []
        if first is not None:
            parts.append(f"layer >= :layer_from_{place}")
            ends[f"layer_from_{place}"] = first
        if last is not None:
            parts.append(f"layer <= :layer_to_{place}")
            ends[f"layer_to_{place}"] = last
        choices.append(" and ".join(parts) or "true")
    return Where(f"({' or '.join(choices) or 'false'})", ends)
