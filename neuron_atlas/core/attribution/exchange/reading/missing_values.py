"""What a document leaves out and its links imply, by our own definitions (see `effects/graph_scores.py`).

    value v          what flows in: Σ links + bias + error
    relevance R      slope · v, slope of a logit = its weight in the goal, of a neuron = Σ over targets t of w(s→t) · slope(t) / v
    direct           the part of R along links that end in a logit
    influence        |inflow| of every target normalised to 1; one unit, shared among the logits by |weight · value|, is passed
                     down; ranked, cumulated, 0..1
    replacement      embeddings / (embeddings + errors), by the influence that ends there
    completeness     influence-weighted mean over targets of 1 - error share

A stated value is never replaced. Links go from lower to higher layers, so one pass from the top layer down suffices.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuron_atlas.core.statistics import cumulative_share

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass
class NodeValues:
    """Columns [N] of table `nodes`, NaN where a document says nothing. `layer` is -1 for embeddings and n_layers for
    logits; `goal_weight` is 0 below the logits."""

    layer: Ints
    goal_weight: Floats
    activation: Floats
    relevance: Floats
    direct: Floats
    influence: Floats
    bias: Floats
    error: Floats

    @property
    def columns(self) -> tuple[Floats, ...]:
        """The columns that may have gaps."""
        return self.activation, self.relevance, self.direct, self.influence, self.bias, self.error


@dataclass(frozen=True)
class LinkValues:
    """Links [M] between nodes, by index; `source` lies in a lower layer than `target`."""

    source: Ints
    target: Ints
    weight: Floats


@dataclass(frozen=True)
class Shares:
    """Two scores of a graph, 0..1, see table `graphs`."""

    completeness: float
    replacement: float


def fill_missing(nodes: NodeValues, links: LinkValues) -> Shares:
    """Compute every missing value from the links, in place; returns the graph's scores.

    Absurd weights may end in values that are not finite; the caller refuses them.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return _filled(nodes, links)


def _filled(nodes: NodeValues, links: LinkValues) -> Shares:
    count = len(nodes.layer)
    is_logit = nodes.layer == nodes.layer.max(initial=-1)
    is_embedding = nodes.layer < 0
    nodes.bias, nodes.error = _or(nodes.bias, 0.0), _or(nodes.error, 0.0)
    inflow = _sums(links.target, links.weight, count) + nodes.bias + nodes.error
    nodes.activation = _or(nodes.activation, np.where(is_embedding, 1.0, inflow))
    to_logit = links.weight * np.where(is_logit, nodes.goal_weight, 0.0)[links.target]
    at_logits = nodes.goal_weight * nodes.activation
    nodes.direct = _or(nodes.direct, np.where(is_logit, at_logits, _sums(links.source, to_logit, count)))
    nodes.relevance = _relevance(nodes, links, is_logit)
    influence, shares = _influence(nodes, links, is_logit)
    nodes.influence = _or(
        nodes.influence, np.where(is_logit, 0.0, cumulative_share(np.where(is_logit, 0.0, influence)))
    )
    return shares


def _relevance(nodes: NodeValues, links: LinkValues, is_logit: NDArray[np.bool_]) -> Floats:
    """Relevance [N], missing ones from the links."""
    relevance = np.where(is_logit, _or(nodes.relevance, nodes.goal_weight * nodes.activation), nodes.relevance)
    slope = np.where(is_logit, nodes.goal_weight, 0.0)
    for chosen, going in _from_the_top(nodes.layer, links, is_logit):
        passed = _sums(links.source[going], links.weight[going] * slope[links.target[going]], len(relevance))
        relevance[chosen] = _or(relevance[chosen], passed[chosen])
        value = nodes.activation[chosen]
        slope[chosen] = np.divide(relevance[chosen], value, out=np.zeros_like(value), where=value != 0)
    return relevance


def _influence(nodes: NodeValues, links: LinkValues, is_logit: NDArray[np.bool_]) -> tuple[Floats, Shares]:
    """Absolute influence [N] of every node on the goal, and the graph's scores."""
    count, size = len(nodes.layer), np.abs(links.weight)
    total = _sums(links.target, size, count) + np.abs(nodes.bias) + np.abs(nodes.error)
    share = np.divide(size, total[links.target], out=np.zeros_like(size), where=size > 0)
    part = np.where(is_logit, np.abs(nodes.goal_weight * nodes.activation), 0.0)
    influence = part / part.sum() if part.sum() > 0 else is_logit / max(int(is_logit.sum()), 1)
    for chosen, going in _from_the_top(nodes.layer, links, is_logit):
        arriving = _sums(links.source[going], share[going] * influence[links.target[going]], count)
        influence[chosen] = arriving[chosen]
    below = nodes.layer >= 0
    error_share = np.divide(np.abs(nodes.error), total, out=np.zeros_like(total), where=total > 0)
    lost = float(influence[below] @ error_share[below])
    embedded, targets = float(influence[~below].sum()), float(influence[below].sum())
    explained = 0.0 if targets == 0 else (targets - lost) / targets
    return influence, Shares(explained, 0.0 if embedded + lost == 0 else embedded / (embedded + lost))


def _from_the_top(layer: Ints, links: LinkValues, is_logit: NDArray[np.bool_]) -> Iterator[tuple[Ints, Ints]]:
    """Layer by layer from below the logits down to the embeddings: the nodes of a layer, and the links that leave it."""
    from_layer = layer[links.source]
    nodes_by_layer, links_by_layer = np.argsort(layer, kind="stable"), np.argsort(from_layer, kind="stable")
    for number in sorted(set(layer[~is_logit].tolist()), reverse=True):
        first, last = np.searchsorted(layer[nodes_by_layer], [number, number + 1])
        begin, end = np.searchsorted(from_layer[links_by_layer], [number, number + 1])
        yield nodes_by_layer[first:last], links_by_layer[begin:end]


def _sums(where: Ints, values: Floats, count: int) -> Floats:
    """Values summed by index, [count]."""
    return np.bincount(where, values, count).astype(np.float64)


def _or(stated: Floats, otherwise: Floats | float) -> Floats:
    """Stated values, and others where there are none (NaN)."""
    return np.where(np.isnan(stated), otherwise, stated)
