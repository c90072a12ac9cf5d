"""What is wrong with a graph's JSON, level by level; each level presumes the ones before it.

    schema     it is JSON, within bounds, with every field that the schema requires and of the right type
    viewer     what Neuronpedia's viewer and upload need without the schema saying so
    lossless   it becomes a graph of ours, and that graph written and read again is the same

A fault is one line. Of each kind the first is named, with how many more there are.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal, TypeAlias

from neuron_atlas.core.attribution.exchange.neuronpedia import to_neuronpedia
from neuron_atlas.core.attribution.exchange.reading.node_kinds import sort_nodes
from neuron_atlas.core.attribution.exchange.reading.parsing import (
    document_of,
    parse_document,
    parse_json,
    schema_faults,
)
from neuron_atlas.core.attribution.exchange.reading.read_document import read_document
from neuron_atlas.core.attribution.exchange.schema import Document, Node
from neuron_atlas.core.records import AttributionGraph
from neuron_atlas.errors import BadInput

Level: TypeAlias = Literal["schema", "viewer", "lossless"]
LEVELS: tuple[Level, ...] = ("schema", "viewer", "lossless")
SHOWN_FAULTS = 20
"""Most faults that are named of one level."""

KNOWN_TYPES = frozenset({"cross layer transcoder", "unexplored node", "lorsa", "embedding", "logit", "bias", "unknown"})
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_PROBABILITY = re.compile(r"\(p=\d*\.?\d+(?:e-?\d+)?\)")


@dataclass(frozen=True, slots=True)
class Fault:
    """One line on what is wrong, and the level that it fails."""

    level: Level
    message: str


@dataclass(frozen=True, slots=True)
class CheckedGraph:
    """What a check found. `form`, `slug`, `scan`, `nodes` and `links` are empty where there is no document."""

    faults: tuple[Fault, ...]
    form: str = ""
    slug: str = ""
    scan: str = ""
    nodes: int = 0
    links: int = 0

    def passes(self, level: Level) -> bool:
        """Whether nothing is wrong at this level or one before it."""
        until = LEVELS[: LEVELS.index(level) + 1]
        return not any(fault.level in until for fault in self.faults)


def check_graph_json(data: bytes) -> CheckedGraph:
    """Check a file's bytes at every level; never raises on what they hold."""
    try:
        value = parse_json(data)
    except BadInput as error:
        return CheckedGraph((Fault("schema", str(error)),))
    try:
        document = document_of(value)
    except BadInput as error:
        messages = list(islice(schema_faults(value), SHOWN_FAULTS)) or [str(error)]
        return CheckedGraph(tuple(Fault("schema", message) for message in messages))
    faults = [Fault("viewer", message) for message in islice(viewer_faults(document), SHOWN_FAULTS)]
    faults += [Fault("lossless", message) for message in islice(losses(document), SHOWN_FAULTS)]
    metadata = document.metadata
    counts = len(document.nodes), len(document.links)
    return CheckedGraph(tuple(faults), document.form, metadata.slug, metadata.scan, *counts)


def viewer_faults(document: Document) -> Iterator[str]:
    """What the viewer and the upload need beyond the schema."""
    metadata, nodes = document.metadata, document.nodes
    for name, value in (("slug", metadata.slug), ("scan", metadata.scan)):
        if not _NAME.fullmatch(value):
            yield f"metadata.{name} is {value[:60]!r}; the upload takes letters, digits, '_', '.' and '-'"
    counts = Counter(node.node_id for node in nodes)
    yield from _some(
        "ids that stand twice; the viewer keeps the last", (f"node {i!r}" for i, n in counts.items() if n > 1)
    )
    n_tokens = len(metadata.prompt_tokens)
    outside = (f"node {n.node_id!r} at {n.ctx_idx}" for n in nodes if not 0 <= n.ctx_idx < n_tokens)
    yield from _some(f"nodes outside the {n_tokens} prompt_tokens", outside)
    logits = [node for node in nodes if node.feature_type == "logit"]
    if not logits:
        yield "there is no logit node"
    silent = (f"node {n.node_id!r}, text {n.clerp[:40]!r}" for n in logits if not _PROBABILITY.search(n.clerp))
    yield from _some("logits without a probability; the viewer needs (p=0.123) in their text", silent)
    if not any((_numeric_layer(node) or 0) >= 1 for node in nodes if node.feature_type != "logit"):
        yield "no node below the logits has a numeric layer of 1 or more; the viewer shows nothing"
    if any(node.feature_type != "logit" for node in nodes[len(nodes) - len(logits) :]):
        yield "the logits are not the last nodes; the viewer's scores take the last ones for logits"
    types = Counter(node.feature_type for node in nodes)
    strange = (f"type {t[:60]!r} ({n} nodes)" for t, n in types.items() if t not in KNOWN_TYPES and "error" not in t)
    yield from _some("types unknown to the viewer, which its scores leave out", strange)
    yield from _link_faults(document)


def losses(document: Document) -> Iterator[str]:
    """What is lost when a document becomes a graph of ours and is written again."""
    try:
        graph = read_document(document)
    except BadInput as error:
        yield f"cannot be imported: {error}"
        return
    for kind, count in sorted(sort_nodes(document).folded.items()):
        yield f"{count} nodes of type {kind!r} are not kept; what they pass on counts as error"
    metadata = document.metadata
    written = json.dumps(to_neuronpedia(graph, slug="check", scan="check"), allow_nan=False).encode()
    again = read_document(parse_document(written))
    if not same_graph(graph, again):
        yield f"graph {metadata.slug[:60]!r} is not the same after writing and reading it again"


def same_graph(one: AttributionGraph, other: AttributionGraph) -> bool:
    """Whether two graphs are equal in everything; a NaN equals a NaN."""
    frames = ((one.nodes, other.nodes), (one.edges, other.edges), (one.logits, other.logits))
    return (
        (one.prompt, one.arrangement) == (other.prompt, other.arrangement)
        and all(a.schema == b.schema and a.equals(b) for a, b in frames)
        and repr(one.summary) == repr(other.summary)
    )


def _link_faults(document: Document) -> Iterator[str]:
    places = {node.node_id: (_height(node), node.ctx_idx) for node in document.nodes}
    links = document.links
    dangling = (f"{k.source!r} to {k.target!r}" for k in links if k.source not in places or k.target not in places)
    yield from _some("links to a node that does not exist; the viewer drops them", dangling)
    whole = [link for link in links if link.source in places and link.target in places]
    downward = (
        f"{k.source!r} to {k.target!r}"
        for k in whole
        if places[k.source][0] > places[k.target][0] or places[k.source][1] > places[k.target][1]
    )
    yield from _some("links to a lower layer or an earlier position", downward)
    stuck = _on_cycles([(link.source, link.target) for link in whole])
    if stuck:
        yield f"{stuck} nodes stand on or behind a cycle of links; the viewer's scores need a graph without cycles"


def _height(node: Node) -> int:
    """The layer as a number: embeddings below all, a logit or a layer that is no number above all."""
    if node.feature_type == "embedding":
        return -1
    layer = _numeric_layer(node)
    return 1_000_000 if layer is None or node.feature_type == "logit" else layer


def _numeric_layer(node: Node) -> int | None:
    return int(node.layer) if re.fullmatch(r"[0-9]{1,6}", node.layer) else None


def _on_cycles(links: list[tuple[str, str]]) -> int:
    """How many nodes are never freed when nodes without incoming links are taken away, over and over (Kahn)."""
    waiting = Counter(target for _, target in links)
    outgoing: dict[str, list[str]] = {}
    for source, target in links:
        outgoing.setdefault(source, []).append(target)
    free = [source for source in outgoing if not waiting[source]]
    while free:
        for target in outgoing.get(free.pop(), ()):
            waiting[target] -= 1
            if not waiting[target]:
                free.append(target)
    return sum(1 for count in waiting.values() if count > 0)


def _some(problem: str, culprits: Iterable[str]) -> Iterator[str]:
    """One line for all culprits of a kind: the first by name, the others counted."""
    found = iter(culprits)
    first = next(found, None)
    if first is not None:
        more = sum(1 for _ in found)
        yield f"{problem}: {first[:160]}{f' and {more} more' if more else ''}"
