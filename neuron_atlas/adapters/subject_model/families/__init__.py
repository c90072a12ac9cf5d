"""Model families by architecture name: the first entry of `architectures` in a model's config.

Only names are here, so that asking whether a model is supported loads nothing.
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
