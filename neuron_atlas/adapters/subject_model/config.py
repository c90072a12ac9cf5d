"""A model's sizes from its own `config.json`, without loading weights or torch.

The asset graph needs to know how many layers there are before a model is loaded, and sizes are only ever read from
the model's own config: a table of sizes goes stale or is wrong. A Hugging Face id is looked up in the local cache first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, cast

from neuron_atlas.errors import BadInput, Unreachable, UnsupportedModel

Config: TypeAlias = Mapping[str, object]
HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*(/[\w.-]+)?$")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What `config.json` says of a model: `n_neurons` per layer (the input width of the down projection)."""

    architecture: str
    n_layers: int
    n_neurons: int
    d_model: int
    vocab_size: int
    max_positions: int


def read_model_config(id_or_path: str) -> ModelConfig:
    """Read a model's sizes from its config.

    Raises `BadInput` where there is no readable config, `UnsupportedModel` where it is not one decoder's config,
    `Unreachable` where a hub id is neither cached nor downloadable.
    """
    path = find_file(id_or_path, "config.json")
    config = _read_object(path)
    inner = config.get("text_config")
    sizes = cast(Config, inner) if isinstance(inner, dict) and "hidden_size" not in config else config
    names = config.get("architectures")
    architecture = (
        cast(list[object], names)[0] if isinstance(names, list) and names else config.get("model_type", "unknown")
    )
    d_model = _size(sizes, path, "hidden_size", "n_embd")
    return ModelConfig(
        architecture=str(architecture),
        n_layers=_size(sizes, path, "num_hidden_layers", "n_layer"),
        n_neurons=_size(
            sizes, path, "intermediate_size", "n_inner", otherwise=4 * d_model if "n_embd" in sizes else None
        ),
        d_model=d_model,
        vocab_size=_size(sizes, path, "vocab_size"),
        max_positions=_size(sizes, path, "max_position_embeddings", "n_positions", otherwise=2**31 - 1),
    )


def find_file(id_or_path: str, name: str) -> Path:
    """One file of a model: in its folder, or in the hub's cache (downloaded when it is not there).

    Raises as `read_model_config`.
    """
    folder = Path(id_or_path).expanduser()
    if folder.is_dir():
        if not (folder / name).is_file():
            raise BadInput(f"the folder {folder} has no {name}; expected a Hugging Face model folder")
        return folder / name
    from huggingface_hub import hf_hub_download  # pyright: ignore[reportUnknownVariableType]

    return _from_hub(id_or_path, lambda: hf_hub_download(id_or_path, name))


def find_folder(id_or_path: str) -> Path:
    """The folder with config, tokenizer and safetensors of a model, downloaded when it is a hub id. Raises as
    `read_model_config`."""
    folder = Path(id_or_path).expanduser()
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download  # pyright: ignore[reportUnknownVariableType]

    patterns = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
    return _from_hub(id_or_path, lambda: snapshot_download(id_or_path, allow_patterns=patterns))


def _from_hub(model_id: str, fetch: Callable[[], str]) -> Path:
    if not HUB_ID.match(model_id):
        raise BadInput(f"{model_id!r} is neither a folder nor a Hugging Face id; expected e.g. ./my-model or org/name")
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(fetch())
    except LocalEntryNotFoundError as error:
        raise Unreachable(
            f"model {model_id!r} is no folder here, is not in the local cache, and the hub does not answer. Check the name, "
            "or give the folder of a model that was downloaded before"
        ) from error
    except HfHubHTTPError as error:
        raise BadInput(
            f"the hub refused model {model_id!r}. Check the name; a gated model needs its licence accepted and a token"
        ) from error


def _read_object(path: Path) -> Config:
    try:
        content: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadInput(f"{path} is not a readable config: {error}. Check or copy the model folder again") from error
    if not isinstance(content, dict):
        raise BadInput(f"{path} holds {type(content).__name__}, expected a JSON object. Copy the model folder again")
    return cast(Config, content)


def _size(config: Config, path: Path, *names: str, otherwise: int | None = None) -> int:
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and value > 0:
            return value
    if otherwise is None:
        wanted = " or ".join(names)
        raise UnsupportedModel(f"{path} gives no {wanted}; expected the config of a decoder-only language model")
    return otherwise
