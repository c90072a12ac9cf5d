"""A graph as people use it: the plain record of `core/records.py`, which can also write and show itself."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from neuron_atlas.core.attribution.exchange.neuronpedia import to_neuronpedia
from neuron_atlas.core.attribution.exchange.older_viewer import to_legacy
from neuron_atlas.core.attribution.graph.serialize import document_text
from neuron_atlas.core.attribution.view import graph_cell, graph_page
from neuron_atlas.core.json_types import JsonObject
from neuron_atlas.core.records import AttributionGraph, NeuronLabels


@dataclass(frozen=True)
class TracedGraph(AttributionGraph):
    """One prompt's graph, which can write itself as JSON or as a page; what `trace` and `read_graph` return.

    `.edges` are those between nodes of this prompt (source, target, weight). The edges of an atlas, `Atlas.edges`, are statistics
    of neuron-to-neuron edges over many such graphs.
    """

    @classmethod
    def of(cls, graph: AttributionGraph) -> TracedGraph:
        """The same graph with these methods."""
        return cls(**{field.name: getattr(graph, field.name) for field in fields(graph)})

    def to_neuronpedia(
        self, *, slug: str | None = None, scan: str | None = None, labels: NeuronLabels | None = None
    ) -> JsonObject:
        """The graph as Neuronpedia's attribution-graph JSON (schema 1.0.0), ready for `json.dump`.

        `slug` names it (default: from the prompt), `scan` names the model (default: from its id); `labels` are texts by
        (NeuronId, polarity). What the format has no field for is kept in extra keys, so that reading it back loses nothing.
        """
        return to_neuronpedia(self, slug=slug, scan=scan, labels=labels or {})

    def to_legacy(
        self, *, slug: str | None = None, scan: str | None = None, labels: NeuronLabels | None = None
    ) -> JsonObject:
        """The graph in the older viewer's form; arguments as in `to_neuronpedia`."""
        return to_legacy(self, slug=slug, scan=scan, labels=labels or {})

    def to_html(self, *, labels: NeuronLabels | None = None) -> str:
        """A page that shows the graph, complete in itself: no other file, no request."""
        return graph_page(self, labels=labels or {})

    def save(self, path: str | Path, *, labels: NeuronLabels | None = None) -> Path:
        """Write the graph: `.json` as Neuronpedia's format (named after the file), `.html` as a page; its folder is made.

        Returns the path. Raises `BadInput` for another ending. `neuron_atlas.read_graph` reads the JSON back as the same graph.
        """
        target = Path(path)
        text = document_text(self, target.name, labels=labels or {})
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.part")
        beside.write_text(text, encoding="utf-8")
        return beside.replace(target)

    def _repr_html_(self) -> str:
        return graph_cell(self)
