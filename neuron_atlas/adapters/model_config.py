"""A model's sizes from its own `config.json`, without loading weights or torch.

The asset graph needs to know how many layers there are long before a model is loaded, and a size is only ever read from
the model's own config: a table of sizes goes stale or is wrong. A Hugging Face id is looked up in the local cache first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from neuron_atlas.errors import BadInput, Unreachable, UnsupportedModel

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
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadInput(
            f"{path} is not a readable config.json: {error}. Check or copy the model folder again"
        ) from error
    if not isinstance(config, dict):
        raise BadInput(f"{path} holds {type(config).__name__}, expected a JSON object. Copy the model folder again")
    names = config.get("architectures") or [str(config.get("model_type", "unknown"))]
    sizes = config if "hidden_size" in config or "n_embd" in config else config.get("text_config", config)
    d_model = _size(sizes, path, "hidden_size", "n_embd")
    return ModelConfig(
        architecture=str(names[0]),
        n_layers=_size(sizes, path, "num_hidden_layers", "n_layer"),
        n_neurons=_size(
            sizes, path, "intermediate_size", "n_inner", otherwise=4 * d_model if "n_embd" in sizes else None
        ),
        d_model=d_model,
        vocab_size=_size(sizes, path, "vocab_size"),
        max_positions=_size(sizes, path, "max_position_embeddings", "n_positions", otherwise=2**31 - 1),
    )


def _size(config: Mapping[str, object], path: Path, *names: str, otherwise: int | None = None) -> int:
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and value > 0:
            return value
    if otherwise is None:
        raise UnsupportedModel(
            f"{path} gives no {' or '.join(names)}; expected the config of a decoder-only language model"
        )
    return otherwise


def find_file(id_or_path: str, name: str) -> Path:
    """One file of a model: in its folder, or in the hub's cache (downloaded when it is not there).

    Raises as `read_model_config`.
    """
    folder = Path(id_or_path).expanduser()
    if folder.is_dir():
        if not (folder / name).is_file():
            raise BadInput(f"the folder {folder} has no {name}; expected a Hugging Face model folder")
        return folder / name
    _check_hub_id(id_or_path)
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(id_or_path, name))
    except LocalEntryNotFoundError as error:
        raise Unreachable(f"model {id_or_path!r} is not in the local cache and its hub does not answer") from error
    except HfHubHTTPError as error:
        raise BadInput(
            f"model {id_or_path!r} or its {name} was refused by the hub: check the name, and access for gated models"
        ) from error


def find_folder(id_or_path: str) -> Path:
    """The folder with config, tokenizer and safetensors of a model, downloaded when it is a hub id. Raises as
    `read_model_config`."""
    folder = Path(id_or_path).expanduser()
    if folder.is_dir():
        return folder
    _check_hub_id(id_or_path)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(id_or_path, allow_patterns=["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"])
        )
    except LocalEntryNotFoundError as error:
        raise Unreachable(f"model {id_or_path!r} is not in the local cache and its hub does not answer") from error
    except HfHubHTTPError as error:
        raise BadInput(
            f"model {id_or_path!r} was refused by the hub: check the name, and access for gated models"
        ) from error


def _check_hub_id(text: str) -> None:
    if not HUB_ID.match(text) or text.startswith((".", "/", "~")):
        raise BadInput(
            f"{text!r} is neither an existing folder nor a Hugging Face id; expected e.g. ./my-model or org/name"
        )
