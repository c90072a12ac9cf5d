"""Model families by architecture name, which is the first entry of `architectures` in a model's config.

    parts.py    `Parts`: what a family says of a model, and functions that find modules and parameters
    llama.py    Llama, Mistral, Qwen2, Qwen3, OLMo-2, OLMo-3, Gemma-2, Gemma-3
    gpt2.py     GPT-2

To add a model family: write a function from the loaded Hugging Face model to `Parts`, in a file here or beside a family with the
same module names. It says where the layers, the value, output, gate, up and down projections, the embedding and the head are, and
which norm stands before or after attention and MLP (`gpt2.py` is a short example). Add the architecture's name to `FAMILIES`
below, and a tiny random model of it to `CLASSES` in `neuron_atlas_tests/adapters/subject_model/conftest.py`: the tests in
`test_families.py` then check that the frozen model gives the model's own logits and that relevance is conserved. A new activation
function also needs its factor in `activation_factor` (`core/attribution/linearisation/freeze.py`).

This file holds names only, so that asking whether a model is supported loads nothing. Not here: sizes (`config.py`, from the
model's own config), the linearised model (`core/attribution/linearisation`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from neuron_atlas.errors import UnsupportedModel

if TYPE_CHECKING:
    from neuron_atlas.adapters.subject_model.families.parts import Family

FAMILIES: dict[str, tuple[str, str]] = {
    "LlamaForCausalLM": ("llama", "llama"),
    "MistralForCausalLM": ("llama", "llama"),
    "Qwen2ForCausalLM": ("llama", "llama"),
    "Qwen3ForCausalLM": ("llama", "llama"),
    "Olmo2ForCausalLM": ("llama", "olmo"),
    "Olmo3ForCausalLM": ("llama", "olmo"),
    "Gemma2ForCausalLM": ("llama", "gemma"),
    "Gemma3ForCausalLM": ("llama", "gemma"),
    "GPT2LMHeadModel": ("gpt2", "gpt2"),
}
"""Architecture to (module in this folder, function in it)."""


def check_supported(architecture: str) -> None:
    """Raises `UnsupportedModel` for an architecture without an adapter, saying what one needs."""
    if architecture not in FAMILIES:
        raise UnsupportedModel(
            f"architecture {architecture!r} has no adapter; supported: {', '.join(FAMILIES)}. An adapter is a function that "
            "says where the model's norms, value, output, gate, up and down projections and head are: copy "
            "neuron_atlas/adapters/subject_model/families/gpt2.py and add it to FAMILIES"
        )


def family_of(architecture: str) -> Family:
    """The adapter of an architecture; raises `UnsupportedModel`."""
    check_supported(architecture)
    module, function = FAMILIES[architecture]
    return getattr(import_module(f"neuron_atlas.adapters.subject_model.families.{module}"), function)
