"""Loading the model under study: any supported Hugging Face decoder, from a folder or the hub.

Only safetensors are read: pickled weights can run code when they are opened, so `.bin` and `.pt` are refused with what to do
instead, and code that comes with a model is never run. Importing this module loads neither torch nor transformers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from neuron_atlas.adapters.files import file_sha256
from neuron_atlas.adapters.subject_model.config import find_folder, read_model_config
from neuron_atlas.adapters.subject_model.families import check_supported, family_of
from neuron_atlas.core.records import ModelSpec
from neuron_atlas.errors import BadInput, UnsupportedModel

if TYPE_CHECKING:
    import torch
    from torch import nn

    from neuron_atlas.adapters.subject_model.huggingface import HuggingFaceModel

DTYPES = ("float32", "bfloat16")
MAX_HASHED_BYTES = 256 * 2**20
"""Weight files up to this size are hashed whole; of larger ones the header, which names every tensor, and the size."""


def load_model(id_or_path: str, *, device: str | None = None, dtype: str | None = None) -> HuggingFaceModel:
    """Load a model for tracing.

    `device` defaults to a GPU where there is one; `dtype` of the forward pass is float32 (the default, in which attributions
    are exact) or bfloat16. Sweeps always run in float32. Raises `UnsupportedModel` for an architecture without adapter or
    weights that are not safetensors, `BadInput` for a folder that is no complete model, `Unreachable` for a hub that does
    not answer.
    """
    if dtype not in (None, *DTYPES):
        raise BadInput(f"dtype {dtype!r} is not supported; expected one of {', '.join(DTYPES)}")
    config = read_model_config(id_or_path)
    check_supported(config.architecture)
    folder = find_folder(id_or_path)
    check_weights(folder)

    import torch

    from neuron_atlas.adapters.subject_model.huggingface import HuggingFaceModel
    from neuron_atlas.adapters.subject_model.tokens import load_tokenizer

    tokens = load_tokenizer(folder, max_positions=config.max_positions)
    target_device = _device(device, has_gpu=torch.cuda.is_available())
    module = _load_module(folder, getattr(torch, dtype or "float32"), target_device)
    parts = family_of(config.architecture)(module)
    spec = describe_model(id_or_path, dtype=dtype)
    return HuggingFaceModel(module, parts, tokens, spec, max_positions=config.max_positions)


def describe_model(id_or_path: str, *, dtype: str | None = None) -> ModelSpec:
    """What a model is, from its files alone: nothing is loaded. Raises `BadInput` for a folder that is no model, and
    `Unreachable` for a hub that does not answer."""
    config, folder = read_model_config(id_or_path), find_folder(id_or_path)
    return ModelSpec(
        model_id=folder.resolve().name if Path(id_or_path).expanduser().is_dir() else id_or_path,
        revision=model_revision(folder),
        architecture=config.architecture,
        n_layers=config.n_layers,
        n_neurons=config.n_neurons,
        d_model=config.d_model,
        vocab_size=config.vocab_size,
        dtype=dtype or "float32",
    )


def check_weights(folder: Path) -> None:
    """Raises `UnsupportedModel` where a folder holds only pickled weights, `BadInput` where it holds none."""
    if list(folder.glob("*.safetensors")):
        return
    pickled = sorted(p.name for pattern in ("*.bin", "*.pt", "*.pth") for p in folder.glob(pattern))
    if pickled:
        raise UnsupportedModel(
            f"{folder} holds its weights only in pickle files ({pickled[0]}), which can run code when opened. Expected "
            "safetensors: take a revision that has them, or load the model where you trust it and call "
            "save_pretrained(folder, safe_serialization=True)"
        )
    raise BadInput(f"{folder} holds no weights; expected model.safetensors (or its shards) beside config.json")


def model_revision(folder: Path) -> str:
    """The sha256 of a model: config, tokenizer and weight files by name and content (see `MAX_HASHED_BYTES`)."""
    total = hashlib.sha256()
    patterns = (
        "config.json",
        "tokenizer*.json",
        "special_tokens_map.json",
        "vocab*",
        "merges.txt",
        "*.model",
        "*.jinja",
    )
    files = {
        file for pattern in (*patterns, "*.safetensors", "*.safetensors.index.json") for file in folder.glob(pattern)
    }
    for file in sorted(files, key=lambda f: f.name):
        size = file.stat().st_size
        content = file_sha256(file) if size <= MAX_HASHED_BYTES else f"{size}:{_header_sha256(file)}"
        total.update(f"{file.name}\0{content}\n".encode())
    return total.hexdigest()


def _header_sha256(file: Path) -> str:
    """The sha256 of a safetensors header: its length in 8 bytes, then JSON that names every tensor, shape and offset."""
    with file.open("rb") as stream:
        start = stream.read(8)
        return hashlib.sha256(start + stream.read(min(int.from_bytes(start, "little"), 100 * 2**20))).hexdigest()


def _device(name: str | None, *, has_gpu: bool) -> str:
    if name is None:
        return "cuda" if has_gpu else "cpu"
    if name.startswith("cuda") and not has_gpu:
        raise BadInput(
            f"device {name!r} was asked for, but torch sees no GPU; use device='cpu' or install torch's CUDA build"
        )
    return name


def _load_module(folder: Path, dtype: torch.dtype, device: str) -> nn.Module:
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    load = cast("Callable[..., tuple[nn.Module, Mapping[str, Sequence[str]]]]", AutoModelForCausalLM.from_pretrained)  # pyright: ignore[reportUnknownMemberType]
    try:
        with _without_progress_bars():
            module, report = load(
                str(folder),
                dtype=dtype,
                attn_implementation="eager",
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except (SafetensorError, OSError, RuntimeError, ValueError, KeyError) as error:
        raise BadInput(f"the weights in {folder} cannot be loaded: {error}. Copy the model folder again") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise BadInput(
            f"the weights in {folder} lack {len(missing)} tensors, first {missing[0]!r}. Copy the model folder again"
        )
    return module.to(device).eval().requires_grad_(False)


@contextmanager
def _without_progress_bars() -> Generator[None]:
    """Loading is fast and its bars would mix with our own output."""
    from transformers.utils import logging

    were_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if were_on:
            logging.enable_progress_bar()
