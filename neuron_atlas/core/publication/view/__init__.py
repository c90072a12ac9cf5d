"""A conversation or text with the model, its neurons watched through a filter and steered.

    neuron_view.py    `NeuronView`: the state, and everything that is worked out from it
    viewed_model.py   what a model must offer to be viewed
    view_tables.py    the instances and neurons that a filter selects, as tables with labels
    steering.py       a filter and a strength as edits of activations
    linter.py         groups among the neurons that fire strongest, by module and by meaning
    saved_view.py     a view as JSON

Does not belong here: the terminal session (`cli/publication/view_session.py`), the model itself (`adapters/subject_model`),
steering in analyses of circuits (`core/circuits/analysis/interventions`).
"""

from neuron_atlas.core.publication.view.linter import Finding
from neuron_atlas.core.publication.view.neuron_view import NeuronView
from neuron_atlas.core.publication.view.steering import Steering

__all__ = ["Finding", "NeuronView", "Steering"]
