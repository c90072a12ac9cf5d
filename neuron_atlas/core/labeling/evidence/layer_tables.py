"""One layer's share of the plain tables, as pieces of evidence.

Each function reads one table, for all neurons of the layer at once; a table that is not there gives nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import polars as pl

from neuron_atlas.core.aggregation.readable_tokens import readable_token
from neuron_atlas.core.labeling.evidence.evidence_record import (
    MAX_LISTED,
    Appearance,
    Association,
    DirectEffect,
    PriorLabel,
)
from neuron_atlas.core.records import SIDES, Tables

SHOWN_TOKENS = MAX_LISTED
_READ_TOKENS = 15
"""A few more are read than shown, for markers such as `<bos>` are dropped."""
_MOST_TEXTS = 20_000

Scored = tuple[int, float]
"""A token id and a weight."""
PolarKey = tuple[int, int]
"""(neuron, polarity) or (neuron, direction)."""


def of_layer(tables: Tables, layer: int) -> Tables:
    """The tables with only the rows of one layer, where a table has a column `layer`."""
    return {
        name: table.filter(pl.col("layer") == layer) if "layer" in table.collect_schema() else table
        for name, table in tables.items()
    }


def usage_texts(here: Tables) -> list[tuple[list[int], list[str]]]:
    """Texts of the layer's exemplars that are not held out, each once: token ids and token texts."""
    if "exemplars" not in here:
        return []
    texts = here["exemplars"].filter(~pl.col("is_held_out")).select("text_id", "token_ids", "tokens")
    frame = texts.unique("text_id", keep="any").sort("text_id").head(_MOST_TEXTS).collect()
    return [(ids, tokens) for _, ids, tokens in frame.iter_rows()]


def spelled_tokens(here: Tables, texts: Iterable[tuple[Sequence[int], Sequence[str]]]) -> dict[int, str]:
    """Token texts that the layer's own tables and texts spell out."""
    names = [n for n in ("output_projections", "input_projections", "token_associations") if n in here]
    pairs = [here[name].select("token_id", "token").unique("token_id").sort("token_id") for name in names]
    spelled = {i: text for frame in pl.collect_all(pairs) for i, text in frame.iter_rows()}
    for ids, tokens in texts:
        spelled.update((i, readable_token(token)) for i, token in zip(ids, tokens, strict=True) if i not in spelled)
    return spelled


def projections(here: Tables, name: str, value: str) -> dict[PolarKey, list[Scored]]:
    """(neuron, direction) to tokens by rank, with the values of column `value` as stored."""
    found: dict[PolarKey, list[Scored]] = defaultdict(list)
    if name in here:
        rows = here[name].filter(pl.col("rank") < _READ_TOKENS).sort("neuron", "direction", "rank")
        for neuron, direction, *scored in rows.select("neuron", "direction", "token_id", value).collect().iter_rows():
            found[neuron, direction].append((scored[0], scored[1]))
    return found


def appearances(here: Tables) -> dict[PolarKey, Appearance]:
    """How often each (neuron, polarity) appears in graphs."""
    if "neuron_profiles" not in here:
        return {}
    columns = ("n_prompts", "frequency", "domain", "domain_specificity", "domain_z")
    rows = here["neuron_profiles"].select("neuron", "polarity", *columns).collect()
    return {
        (neuron, polarity): Appearance.model_validate(dict(zip(columns, values, strict=True)))
        for neuron, polarity, *values in rows.iter_rows()
    }


def direct_effects(here: Tables) -> dict[int, DirectEffect]:
    """Direct-effect ratio per neuron."""
    if "der_scores" not in here:
        return {}
    rows = here["der_scores"].select("neuron", "der", "effect_type", "n", "der_intervention").collect()
    return {
        neuron: DirectEffect(der=der, effect_type=kind, n=n, by_ablation=ablated)
        for neuron, der, kind, n, ablated in rows.iter_rows()
    }


def prior_labels(prior: Tables, layer: int) -> dict[PolarKey, tuple[PriorLabel, ...]]:
    """What was imported about each (neuron, polarity) of a layer, from label tables of either side."""
    found: dict[PolarKey, list[PriorLabel]] = defaultdict(list)
    for side in SIDES:
        if f"{side}_labels" not in prior:
            continue
        wanted = (pl.col("layer") == layer) & (pl.col("labeler") == "import") & pl.col("label").is_not_null()
        rows = prior[f"{side}_labels"].filter(wanted).sort("neuron", "polarity", "version").collect()
        for neuron, polarity, text, by in rows.select("neuron", "polarity", "label", "version").iter_rows():
            found[neuron, polarity].append(PriorLabel(side=side, text=text, by=by))
    return {key: tuple(labels) for key, labels in found.items()}


def associations(here: Tables, place: str) -> dict[PolarKey, tuple[Association, ...]]:
    """Over-represented tokens at (`active`) or before (`window`) each (neuron, polarity), by rank."""
    if "token_associations" not in here:
        return {}
    columns = ("token_id", "text", "n", "frequency", "lift")
    rows = (
        here["token_associations"]
        .filter((pl.col("place") == place) & (pl.col("rank") < SHOWN_TOKENS))
        .sort("neuron", "polarity", "rank")
        .select("neuron", "polarity", "token_id", "token", "n", "frequency", "lift")
        .collect()
    )
    found: dict[PolarKey, list[Association]] = defaultdict(list)
    for neuron, polarity, *values in rows.iter_rows():
        found[neuron, polarity].append(Association.model_validate(dict(zip(columns, values, strict=True))))
    return {key: tuple(items) for key, items in found.items()}
