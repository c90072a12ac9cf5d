"""Which tokens of a saved graph are special, as its model's tokenizer flags them."""

from __future__ import annotations

from neuron_atlas.settings import load_settings


def special_ids(revision: str) -> frozenset[int]:
    """Ids that the tokenizer flags as special, for a graph of this model revision; none where the settings name another model."""
    from neuron_atlas.adapters.subject_model.config import find_folder, read_model_config
    from neuron_atlas.adapters.subject_model.load import model_revision
    from neuron_atlas.adapters.subject_model.tokens import load_tokenizer

    model = load_settings().model
    folder = find_folder(model)
    if model_revision(folder) != revision:
        return frozenset()
    return load_tokenizer(folder, max_positions=read_model_config(model).max_positions).special_ids
