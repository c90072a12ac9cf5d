"""neuron_atlas turns a language model and prompt sets into a searchable atlas of its MLP neurons.

    attribution  →  aggregation  →  labeling  →  circuits  →  publication

Graphs of what made each prompt's answer; statistics of many graphs; a label for what every neuron does and for what makes it
fire, each with a score; the modules they form; one file and one database to query. A **neuron** is one coordinate of the input
of an MLP's down projection, written `L18/N6721`.

    import neuron_atlas as na
    model = na.load_model("path/or/huggingface-id")
    graph = na.trace(model, "The capital of the state containing Dallas is")
    atlas = na.open_atlas(".neuron_atlas/neuron_atlas.duckdb")

Inside: `core` computes, `adapters` read and write, `defs` tells Dagster, `cli` is the command line, `demo` makes the bundled model;
`definitions.py` is what Dagster loads, `settings.py` every setting, `errors.py` every error. docs/architecture.md is the map.

Importing this module imports neither torch nor Dagster; the functions below do when they need them.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neuron_atlas.adapters.atlas_duckdb import open_atlas
    from neuron_atlas.adapters.graphs.graph_files import read_graph
    from neuron_atlas.adapters.neuron_db import open_neuron_db
    from neuron_atlas.adapters.subject_model.load import load_model
    from neuron_atlas.core.attribution.faithfulness.evaluate import evaluate
    from neuron_atlas.core.attribution.total_links import total_links
    from neuron_atlas.core.attribution.trace import trace
    from neuron_atlas.core.circuits.analysis.analyze import analyze
    from neuron_atlas.core.circuits.analysis.compare import compare
    from neuron_atlas.core.circuits.analysis.interventions.steering import steer
    from neuron_atlas.core.circuits.analysis.modules.graph_modules import cluster_graph
    from neuron_atlas.core.publication import filters
    from neuron_atlas.core.publication.view import NeuronView

__version__ = version("neuron_atlas")
__all__ = [
    "NeuronView",
    "__version__",
    "analyze",
    "cluster_graph",
    "compare",
    "evaluate",
    "filters",
    "load_model",
    "open_atlas",
    "open_neuron_db",
    "read_graph",
    "steer",
    "total_links",
    "trace",
]

_HOMES = {
    "NeuronView": "neuron_atlas.core.publication.view",
    "analyze": "neuron_atlas.core.circuits.analysis.analyze",
    "cluster_graph": "neuron_atlas.core.circuits.analysis.modules.graph_modules",
    "compare": "neuron_atlas.core.circuits.analysis.compare",
    "steer": "neuron_atlas.core.circuits.analysis.interventions.steering",
    "evaluate": "neuron_atlas.core.attribution.faithfulness.evaluate",
    "filters": "neuron_atlas.core.publication",
    "load_model": "neuron_atlas.adapters.subject_model.load",
    "open_atlas": "neuron_atlas.adapters.atlas_duckdb",
    "open_neuron_db": "neuron_atlas.adapters.neuron_db",
    "read_graph": "neuron_atlas.adapters.graphs.graph_files",
    "total_links": "neuron_atlas.core.attribution.total_links",
    "trace": "neuron_atlas.core.attribution.trace",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'neuron_atlas' has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)
