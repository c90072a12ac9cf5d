"""Which tokens of a saved graph are special, by the word of its model's tokenizer."""

from __future__ import annotations

from neuron_atlas.settings import load_settings


def special_ids(revision: str) -> frozenset[int]:
    """What the tokenizer flags as special, if the graph was made with the model of the settings; else nothing is known."""
    from neuron_atlas.adapters.subject_model.config import find_folder, read_model_config
    from neuron_atlas.adapters.subject_model.load import model_revision
    from neuron_atlas.adapters.subject_model.tokens import load_tokenizer

    model = load_settings().model
    folder = find_folder(model)
    if model_revision(folder) != revision:
        return frozenset()
    return load_tokenizer(folder, max_positions=read_model_config(model).max_positions).special_ids
