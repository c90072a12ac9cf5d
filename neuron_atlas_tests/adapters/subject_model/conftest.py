"""Tiny random models of every supported class, saved with a word-level tokenizer and loaded as a user would."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors

from neuron_atlas.adapters.subject_model.huggingface import HuggingFaceModel
from neuron_atlas.adapters.subject_model.load import load_model

torch.set_num_threads(1)

WORDS = [f" w{i}" for i in range(40)] + ["w0", " a", "b"]
SIZES = {
    "vocab_size": 47,
    "hidden_size": 24,
    "intermediate_size": 20,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 6,
    "max_position_embeddings": 32,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
SLIDING = ["sliding_attention", "full_attention", "sliding_attention"]
CLASSES: dict[str, tuple[str, dict[str, object]]] = {
    "llama": ("Llama", {}),
    "llama-biases": ("Llama", {"attention_bias": True, "mlp_bias": True, "num_key_value_heads": 4}),
    "llama-3.1": (
        "Llama",
        {
            "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 10000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 16,
            },
        },
    ),
    "mistral": ("Mistral", {"sliding_window": 3}),
    "qwen2": ("Qwen2", {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1}),
    "qwen3": ("Qwen3", {}),
    "olmo2": ("Olmo2", {}),
    "olmo3": ("Olmo3", {"layer_types": SLIDING, "sliding_window": 3}),
    "gemma2": (
        "Gemma2",
        {
            "layer_types": SLIDING,
            "sliding_window": 3,
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 3.0,
            "query_pre_attn_scalar": 6,
        },
    ),
    "gemma3": ("Gemma3", {"layer_types": SLIDING, "sliding_window": 3, "query_pre_attn_scalar": 6}),
    "gpt2": ("GPT2", {}),
}
"""Name of a tiny model to (class prefix, settings that differ from `SIZES`)."""


def save_tokenizer(folder: Path, *, template: str | None = None) -> None:
    """Words keep their leading space; BOS is added by encoding."""
    vocabulary = {word: i for i, word in enumerate(["<s>", "</s>", "<pad>", "<unk>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r" ?[^\s]+| "), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.add_special_tokens(
        [AddedToken(t, special=True, normalized=False) for t in ("<s>", "</s>", "<pad>", "<unk>")]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "clean_up_tokenization_spaces": False,
    }
    if template is not None:
        settings["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def save_model(folder: Path, name: str) -> None:
    """A tiny model with every weight random, norms and biases too."""
    prefix, changes = CLASSES[name]
    if prefix == "GPT2":
        config = transformers.GPT2Config(
            vocab_size=47, n_embd=24, n_inner=20, n_layer=3, n_head=4, n_positions=32, bos_token_id=0, eos_token_id=1
        )
        module = transformers.GPT2LMHeadModel(config)
    else:
        kind = "Gemma3TextConfig" if prefix == "Gemma3" else f"{prefix}Config"
        config = getattr(transformers, kind)(**(SIZES | changes))
        module = getattr(transformers, f"{prefix}ForCausalLM")(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(noise / parameter.shape[-1] ** 0.5)
            else:
                parameter.copy_(parameter + 0.3 * noise)
    module.save_pretrained(folder)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], HuggingFaceModel]:
    """A tiny model by name, saved and loaded once."""
    transformers.utils.logging.disable_progress_bar()
    loaded: dict[str, HuggingFaceModel] = {}

    def load(name: str) -> HuggingFaceModel:
        if name not in loaded:
            folder = tmp_path_factory.mktemp(name)
            save_model(folder, name)
            save_tokenizer(folder)
            loaded[name] = load_model(str(folder), device="cpu")
        return loaded[name]

    return load


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """A tiny Llama on disk, to be damaged."""
    transformers.utils.logging.disable_progress_bar()
    save_model(tmp_path, "llama")
    save_tokenizer(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def write_tokenizer() -> Callable[..., None]:
    """Saves the word-level tokenizer of the tiny models."""
    return save_tokenizer
