"""The edges of one layer's neurons, turned towards the polarity that is being labeled.

`edge_stats` keeps signs as they were measured: weight > 0 raises the target's value. Which label that is evidence for depends on
the sign with which source and target usually fire. Both ends are therefore turned towards their usual polarity (the one
with more instances), and the labeled end towards the polarity at hand. An edge whose sign was seen both ways
(`sign_agreement` below `MIN_AGREEMENT`) says nothing about excitation or inhibition and is left out.

Neighbours are ordered by the relevance that passed along the edge over all prompts (|flow| times instances).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from neuron_atlas.core.labeling.evidence.evidence_record import polar_name
from neuron_atlas.core.records import Tables

MIN_AGREEMENT = 2 / 3
MOST = 10
"""Connections shown per neuron and kind."""
_PARTNERS = 5


@dataclass(frozen=True, slots=True)
class Connection:
    """One edge of a neuron of the layer. `name` is the other neuron with its usual polarity (empty for a token), `token_id` the
    other token; `weight` holds for the labeled neuron firing with polarity +1: turn it for -1. `flow` is the mean |relevance|
    that passes (logits)."""

    name: str
    token_id: int
    weight: float
    frequency: float
    flow: float = 0.0


@dataclass(frozen=True, slots=True)
class LayerConnections:
    """Connections per neuron of the layer: to neurons, to tokens (logits or embeddings), and neurons that appear together."""

    neurons: Mapping[int, Sequence[Connection]] = field(default_factory=dict[int, Sequence[Connection]])
    tokens: Mapping[int, Sequence[Connection]] = field(default_factory=dict[int, Sequence[Connection]])
    partners: Mapping[int, Sequence[Connection]] = field(default_factory=dict[int, Sequence[Connection]])


def output_connections(evidence: Tables, layer: int) -> LayerConnections:
    """What the layer's neurons act on: later neurons, and traced logits (mean over the neuron's prompts, logits)."""
    if not _has_graphs(evidence):
        return LayerConnections()
    firing = _usual_firing(evidence)
    own = (pl.col("source_kind") == "neuron") & (pl.col("source_layer") == layer)
    to_neurons = _ranked(evidence, own & (pl.col("target_kind") == "neuron"), "source")
    to_logits = _ranked(evidence, own & (pl.col("target_kind") == "logit"), "source")
    return LayerConnections(
        neurons=_to_neurons(to_neurons, firing, own="source", other="target"),
        tokens=_to_tokens(to_logits, firing, own="source", other="target"),
    )


def input_connections(evidence: Tables, layer: int) -> LayerConnections:
    """What acts on the layer's neurons: earlier neurons and token embeddings; and who appears with them."""
    if not _has_graphs(evidence):
        return LayerConnections()
    firing = _usual_firing(evidence)
    own = (pl.col("target_kind") == "neuron") & (pl.col("target_layer") == layer)
    from_neurons = _ranked(evidence, own & (pl.col("source_kind") == "neuron"), "target")
    from_embeddings = _ranked(evidence, own & (pl.col("source_kind") == "embedding"), "target")
    return LayerConnections(
        neurons=_to_neurons(from_neurons, firing, own="target", other="source"),
        tokens=_to_tokens(from_embeddings, firing, own="target", other="source"),
        partners=_cooccurring(evidence, layer, firing),
    )


def _has_graphs(evidence: Tables) -> bool:
    return "neuron_profiles" in evidence and "edge_stats" in evidence


def _usual_firing(evidence: Tables) -> pl.DataFrame:
    """Per (layer, neuron): `usual` polarity, mean |activation| as `scale`, and `n_prompts` (both polarities)."""
    profiles = evidence["neuron_profiles"].sort("n", "polarity", descending=True)
    return (
        profiles.group_by("layer", "neuron", maintain_order=True)
        .agg(
            pl.col("polarity").first().alias("usual"),
            ((pl.col("activation_mean").abs() * pl.col("n")).sum() / pl.col("n").sum()).alias("scale"),
            pl.col("n_prompts").sum(),
        )
        .collect()
    )


def _cooccurring(evidence: Tables, layer: int, firing: pl.DataFrame) -> Mapping[int, list[Connection]]:
    """Neurons that appear in the same prompts; weight is the Jaccard overlap, 0..1."""
    if "cooccurrence" not in evidence:
        return {}
    rows = (
        evidence["cooccurrence"]
        .filter((pl.col("layer") == layer) & (pl.col("rank") < _PARTNERS))
        .sort("neuron", "rank")
        .collect()
        .join(
            _end(firing, "other").rename({"other": "other_neuron"}),
            on=("other_layer", "other_neuron"),
            maintain_order="left",
        )
        .join(firing.select("layer", "neuron", own_prompts="n_prompts"), on=("layer", "neuron"), maintain_order="left")
        .with_columns(share=(pl.col("n_prompts") / pl.col("own_prompts")).clip(0, 1))
    )
    found: dict[int, list[Connection]] = defaultdict(list)
    for row in rows.iter_rows(named=True):
        name = polar_name(row["other_layer"], row["other_neuron"], row["other_usual"])
        found[row["neuron"]].append(Connection(name, -1, row["jaccard"], row["share"]))
    return found


def _ranked(evidence: Tables, where: pl.Expr, own: str) -> pl.DataFrame:
    """The strongest `MOST` edges of every own neuron, strongest first."""
    other = "target" if own == "source" else "source"
    passed = pl.col("flow_abs_mean") * pl.col("n")
    kinds = (pl.col("source_kind") == "neuron") if own == "source" else pl.lit(True)
    return (
        evidence["edge_stats"]
        .filter(where & kinds & (pl.col("sign_agreement") >= MIN_AGREEMENT))
        .with_columns(passed.alias("passed"))
        .sort(own, -pl.col("passed"), f"{other}_layer", other)
        .group_by(own, maintain_order=True)
        .head(MOST)
        .collect()
    )


def _end(firing: pl.DataFrame, end: str) -> pl.DataFrame:
    """`firing` with columns named for one end of an edge."""
    return firing.select(
        pl.col("layer").alias(f"{end}_layer"),
        pl.col("neuron").alias(end),
        *(pl.col(name).alias(f"{end}_{name}") for name in ("usual", "scale", "n_prompts")),
    )


def _to_neurons(edges: pl.DataFrame, firing: pl.DataFrame, *, own: str, other: str) -> dict[int, list[Connection]]:
    for end in (own, other):
        edges = edges.join(_end(firing, end), on=(f"{end}_layer", end), how="inner", maintain_order="left")
    # A source fires its usual way in most instances, so the weight as measured is its effect when it does.
    turned = pl.col("weight_mean") / pl.col("target_scale")
    if own == "source":
        turned = turned * pl.col("source_usual") * pl.col("target_usual")
    edges = edges.with_columns(turned=turned, share=(pl.col("n_prompts") / pl.col(f"{own}_n_prompts")).clip(0, 1))
    found: dict[int, list[Connection]] = defaultdict(list)
    for row in edges.iter_rows(named=True):
        name = polar_name(row[f"{other}_layer"], row[other], row[f"{other}_usual"])
        found[row[own]].append(Connection(name, -1, row["turned"], row["share"], row["flow_abs_mean"]))
    return found


def _to_tokens(edges: pl.DataFrame, firing: pl.DataFrame, *, own: str, other: str) -> dict[int, list[Connection]]:
    edges = edges.join(_end(firing, own), on=(f"{own}_layer", own), how="inner", maintain_order="left")
    share = (pl.col("n_prompts") / pl.col(f"{own}_n_prompts")).clip(0, 1)
    turn = pl.col("source_usual") * share if own == "source" else 1 / pl.col("target_scale")
    edges = edges.with_columns(share=share, turned=pl.col("weight_mean") * turn)
    found: dict[int, list[Connection]] = defaultdict(list)
    for row in edges.iter_rows(named=True):
        found[row[own]].append(Connection("", row[other], row["turned"], row["share"]))
    return found
