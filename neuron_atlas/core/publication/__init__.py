"""What can be done with a published atlas: search its labels, choose neurons by filters, watch and steer them in a running model.

    search/     labels found by meaning, by words, or both; what a search database holds
    filters/    `na.filters`: choosing neurons, instances and tokens by what is known of them and by what they do in a text
    view/       `na.NeuronView`: a conversation with the model, its neurons watched through a filter and steered
    top_k.py    the instances of largest |value| among very many, block by block

Used by the command line (`cli/publication`) and by notebooks. There is no HTTP API yet (docs/architecture.md says where one goes).
Building the atlas itself is in `adapters/atlas_duckdb/build.py`.

Does not belong here: files and SQL (`adapters/atlas_duckdb`, `adapters/neuron_db`, `adapters/sql`), when the atlas is built
(`defs/assets/publication.py`), printing (`cli/publication`).
"""

from neuron_atlas.core.publication import filters

__all__ = ["filters"]
