"""What people do with what was published: choose neurons (`filters`), watch and steer them in a running model (`view`)."""

from neuron_atlas.core.publication import filters

__all__ = ["filters"]
