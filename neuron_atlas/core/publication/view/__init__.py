"""A conversation or text with the model, its neurons watched through a filter and steered.

`neuron_view` holds the state, `listing` shows what is in the filter, `steering` makes edits of it, `linter` groups it by module and
by meaning, `saved` is the form on disk, `subject` what a model must offer.
"""

from neuron_atlas.core.publication.view.linter import Finding
from neuron_atlas.core.publication.view.neuron_view import NeuronView
from neuron_atlas.core.publication.view.steering import Steering

__all__ = ["Finding", "NeuronView", "Steering"]
