"""The world: one outside thing per file, each fulfilling a port of `neuron_atlas.core.ports`."""
