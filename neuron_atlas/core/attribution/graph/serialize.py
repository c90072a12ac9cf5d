"""A graph as the text of a file; the file's name says which form."""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import Literal, TypeAlias

from neuron_atlas.core.attribution.exchange.neuronpedia import to_neuronpedia
from neuron_atlas.core.attribution.exchange.older_viewer import to_legacy
from neuron_atlas.core.attribution.view import graph_page
from neuron_atlas.core.records import NO_LABELS, AttributionGraph, NeuronLabels
from neuron_atlas.errors import BadInput

Form: TypeAlias = Literal["neuronpedia", "legacy"]


def document_text(
    graph: AttributionGraph,
    name: str,
    *,
    form: Form = "neuronpedia",
    scan: str | None = None,
    labels: NeuronLabels = NO_LABELS,
) -> str:
    """The content of file `name`: `.json` in the given form (its slug is the file's stem), `.html` as a page.

    Raises `BadInput` for another ending, or a stem that is no slug.
    """
    path = PurePath(name)
    match path.suffix:
        case ".json":
            write = to_neuronpedia if form == "neuronpedia" else to_legacy
            document = write(graph, slug=path.stem, scan=scan, labels=labels)
            return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"
        case ".html":
            return graph_page(graph, labels=labels)
        case _:
            raise BadInput(f"cannot write a graph to {name!r}; expected a name that ends in .json or .html")
