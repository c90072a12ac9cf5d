"""A document's nodes sorted by what they become, and its links placed between them; every fault of reference is found here."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neuron_atlas.core.attribution.exchange.node_ids import split_id, unpair
from neuron_atlas.core.attribution.exchange.schema import Document, Node
from neuron_atlas.errors import BadInput

NEURON_TYPES = frozenset({"cross layer transcoder", "unexplored node", "mlp_neuron"})
HIGHEST_LAYER = 10_000
HIGHEST_NUMBER = 2**31 - 1
_DIGITS = re.compile(r"^[0-9]{1,9}$")

NodeKind: TypeAlias = Literal["embedding", "neuron", "logit", "error", "bias", "other"]


def kind_of(node: Node) -> NodeKind:
    """What a node of a document becomes."""
    match node.feature_type:
        case "embedding" | "logit" | "bias":
            return node.feature_type
        case kind if kind in NEURON_TYPES or node.node_kind == "mlp_neuron":
            return "neuron"
        case kind if "error" in kind:
            return "error"
        case _:
            return "other"


@dataclass(frozen=True)
class SortedNodes:
    """Nodes of a document: embeddings by position, neurons (layer, position, neuron) in that order, logits as they stand.

    `kinds` is what every node id becomes, `token_ids` the token of every embedding and logit, `folded` how many nodes of each
    unknown type there are.
    """

    embeddings: list[Node]
    neurons: list[tuple[int, int, int, Node]]
    logits: list[Node]
    kinds: dict[str, NodeKind]
    token_ids: dict[str, int]
    folded: Counter[str]

    @cached_property
    def ordered(self) -> list[Node]:
        """The nodes that stay nodes, in the order of table `nodes`."""
        return [*self.embeddings, *(node for *_, node in self.neurons), *self.logits]


@dataclass(frozen=True)
class PlacedLinks:
    """Links [M] between nodes that stay, by index; per node [N] what flows in from errors and biases; and how many links
    end in nodes that do not stay."""

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    weight: NDArray[np.float64]
    error: list[float]
    bias: list[float]
    into_folded: int


def sort_nodes(document: Document) -> SortedNodes:
    """Sort a document's nodes. Raises `BadInput` naming the first node at fault."""
    n_tokens = len(document.metadata.prompt_tokens)
    kinds: dict[str, NodeKind] = {}
    token_ids: dict[str, int] = {}
    folded: Counter[str] = Counter()
    embeddings: dict[int, Node] = {}
    neurons: dict[tuple[int, int, int], Node] = {}
    logits: list[Node] = []
    for node in document.nodes:
        if node.node_id in kinds:
            raise BadInput(f"two nodes have the id {node.node_id[:60]!r}")
        if not 0 <= node.ctx_idx < n_tokens:
            raise BadInput(
                f"node {node.node_id[:60]!r} is at position {node.ctx_idx}, outside the {n_tokens} prompt_tokens"
            )
        kind = kinds[node.node_id] = kind_of(node)
        match kind:
            case "embedding":
                token_ids[node.node_id] = _token_id(node)
                if embeddings.setdefault(node.ctx_idx, node) is not node:
                    raise BadInput(f"two embeddings at position {node.ctx_idx}; expected one per token")
            case "neuron":
                layer, neuron = _place_of_neuron(node, document.metadata.schema_version)
                if neurons.setdefault((layer, node.ctx_idx, neuron), node) is not node:
                    raise BadInput(f"two nodes for L{layer}/N{neuron} at position {node.ctx_idx}")
            case "logit":
                token_ids[node.node_id] = _token_id(node)
                logits.append(node)
            case "other":
                folded[node.feature_type[:60]] += 1
            case "error" | "bias":
                pass
    absent = next((p for p in range(n_tokens) if p not in embeddings), None)
    if absent is not None:
        raise BadInput(f"no embedding node at position {absent}; expected one for each of the {n_tokens} prompt_tokens")
    if len({node.ctx_idx for node in logits}) != 1:
        raise BadInput(f"{len(logits)} logits at {len({n.ctx_idx for n in logits})} positions; expected all at one")
    return SortedNodes(
        embeddings=[embeddings[position] for position in range(n_tokens)],
        neurons=[(*place, neurons[place]) for place in sorted(neurons)],
        logits=logits,
        kinds=kinds,
        token_ids=token_ids,
        folded=folded,
    )


def place_links(document: Document, nodes: SortedNodes) -> PlacedLinks:
    """Place a document's links. Raises `BadInput` naming the first link at fault."""
    index = {node.node_id: number for number, node in enumerate(nodes.ordered)}
    error, bias = [0.0] * len(index), [0.0] * len(index)
    sources: list[int] = []
    targets: list[int] = []
    weights: list[float] = []
    into_folded = 0
    for link in document.links:
        source, target = nodes.kinds.get(link.source), nodes.kinds.get(link.target)
        if source is None or target is None:
            absent = link.source if source is None else link.target
            raise BadInput(f"a link names the node {absent[:60]!r}, which does not exist")
        if target == "embedding" or source == "logit":
            raise BadInput(
                f"a link goes from {link.source[:60]!r} to {link.target[:60]!r}: out of a logit or into an embedding"
            )
        if target not in ("neuron", "logit"):
            into_folded += 1
        elif source == "bias":
            bias[index[link.target]] += link.weight
        elif source in ("error", "other"):
            error[index[link.target]] += link.weight
        else:
            sources.append(index[link.source])
            targets.append(index[link.target])
            weights.append(link.weight)
    placed = PlacedLinks(
        np.array(sources, np.int64), np.array(targets, np.int64), np.array(weights), error, bias, into_folded
    )
    _check_links(nodes, placed)
    return placed


def _check_links(nodes: SortedNodes, links: PlacedLinks) -> None:
    """Raises `BadInput` for a link that occurs twice, or does not go to a higher layer at the same or a later position."""
    ordered = nodes.ordered
    layers = (
        [-1] * len(nodes.embeddings) + [layer for layer, *_ in nodes.neurons] + [HIGHEST_LAYER + 1] * len(nodes.logits)
    )
    layer, position = np.array(layers, np.int64), np.array([node.ctx_idx for node in ordered], np.int64)
    s, t = links.source, links.target
    if np.abs(links.weight).max(initial=0) > np.finfo(np.float32).max:
        raise BadInput("a link's weight is beyond 32-bit range")

    def first(is_bad: NDArray[np.bool_]) -> str | None:
        where = np.flatnonzero(is_bad)
        return None if not len(where) else f"from {ordered[s[where[0]]].node_id!r} to {ordered[t[where[0]]].node_id!r}"

    sideways = first((layer[s] >= layer[t]) | (position[s] > position[t]))
    if sideways is not None:
        raise BadInput(f"a link goes {sideways}; expected upwards: to a higher layer, at the same or a later position")
    code = s * len(ordered) + t
    order = np.argsort(code, kind="stable")
    is_repeated = np.zeros(len(code), np.bool_)
    is_repeated[order[1:]] = code[order[1:]] == code[order[:-1]]
    twice = first(is_repeated)
    if twice is not None:
        raise BadInput(f"two links go {twice}; expected one")


def _place_of_neuron(node: Node, schema_version: float | None) -> tuple[int, int]:
    """(layer, neuron): from an id of three integers that agrees with the node, else from `layer` and `feature`."""
    layer = _checked(node, "layer", int(node.layer) if _DIGITS.match(node.layer) else None, HIGHEST_LAYER)
    parts = split_id(node.node_id)
    if parts is not None and parts[0] == str(layer) and parts[2] == node.ctx_idx:
        return layer, _checked(node, "index", parts[1], HIGHEST_NUMBER)
    feature = _checked(node, "feature", node.feature, 2**62)
    if schema_version == 1:
        paired, neuron = unpair(feature)
        if paired != layer:
            raise BadInput(
                f"node {node.node_id[:60]!r}: feature {feature} stands for layer {paired}, but layer is {layer}"
            )
        feature = neuron
    return layer, _checked(node, "feature", feature, HIGHEST_NUMBER)


def _token_id(node: Node) -> int:
    """The token of an embedding or logit: from its id, else its `feature`."""
    parts = split_id(node.node_id)
    value = node.feature if parts is None else parts[1]
    return _checked(node, "token id", value, HIGHEST_NUMBER, lowest=-1)


def _checked(node: Node, what: str, value: int | None, highest: int, *, lowest: int = 0) -> int:
    if value is None or not lowest <= value <= highest:
        raise BadInput(f"node {node.node_id[:60]!r}: its {what} is {value}; expected {lowest} to {highest:,}")
    return value
