"""Loading: what is refused, with one clear error each, and what a model's identity depends on."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from neuron_atlas.adapters.subject_model.config import ModelConfig, read_model_config
from neuron_atlas.adapters.subject_model.families import FAMILIES
from neuron_atlas.adapters.subject_model.load import load_model, model_revision
from neuron_atlas.errors import BadInput, UnsupportedModel


def change_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_sizes_come_from_the_models_own_config(model_folder: Path) -> None:
    expected = ModelConfig("LlamaForCausalLM", 3, 20, 24, 47, 32)
    assert read_model_config(str(model_folder)) == expected
    spec = load_model(str(model_folder), device="cpu").spec
    assert (spec.n_layers, spec.n_neurons, spec.d_model, spec.vocab_size) == (3, 20, 24, 47)
    assert spec.model_id == model_folder.name


def test_sizes_of_gpt2_and_of_a_nested_text_config(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        '{"model_type": "gpt2", "n_embd": 8, "n_layer": 2, "vocab_size": 5, "n_inner": null}'
    )
    assert read_model_config(str(tmp_path)).n_neurons == 32
    text = {"hidden_size": 4, "num_hidden_layers": 3, "intermediate_size": 7, "vocab_size": 9}
    (tmp_path / "config.json").write_text(
        json.dumps({"architectures": ["XForConditionalGeneration"], "text_config": text})
    )
    assert read_model_config(str(tmp_path)).n_layers == 3


def test_a_folder_without_weights_says_what_is_expected(model_folder: Path) -> None:
    (model_folder / "model.safetensors").unlink()
    with pytest.raises(BadInput, match=r"no weights; expected model\.safetensors"):
        load_model(str(model_folder))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pth"])
def test_pickled_weights_are_refused_with_a_way_out_and_never_opened(model_folder: Path, name: str) -> None:
    (model_folder / "model.safetensors").unlink()
    (model_folder / name).write_bytes(b"not even a pickle")
    with pytest.raises(UnsupportedModel, match=r"pickle.*save_pretrained"):
        load_model(str(model_folder))


def test_an_architecture_without_adapter_is_refused_by_name_with_what_one_needs(model_folder: Path) -> None:
    change_config(model_folder, architectures=["GPTNeoXForCausalLM"])
    with pytest.raises(UnsupportedModel, match=r"GPTNeoXForCausalLM.*Qwen3ForCausalLM.*An adapter is a function"):
        load_model(str(model_folder))
    assert "GPTNeoXForCausalLM" not in FAMILIES


def test_an_activation_function_without_a_factor_is_refused(model_folder: Path) -> None:
    change_config(model_folder, hidden_act="relu2")
    with pytest.raises(UnsupportedModel, match=r"'relu2' has no linearisation"):
        load_model(str(model_folder))


def test_a_config_that_is_no_language_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["ResNet"]}')
    with pytest.raises(UnsupportedModel, match="gives no hidden_size or n_embd"):
        read_model_config(str(tmp_path))


@pytest.mark.parametrize("content", ["{", "[]", "\x00"])
def test_a_broken_config_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(BadInput, match=r"config\.json"):
        read_model_config(str(tmp_path))


def test_a_folder_without_config_and_a_name_that_cannot_be_one(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"has no config\.json"):
        load_model(str(tmp_path))
    with pytest.raises(BadInput, match="neither a folder nor a Hugging Face id"):
        load_model("../nowhere/at/all")


def test_torn_weights_are_refused(model_folder: Path) -> None:
    path = model_folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadInput, match="cannot be loaded"):
        load_model(str(model_folder))


def test_missing_tensors_are_not_filled_with_random_numbers(model_folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(model_folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, model_folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match=r"lack 1 tensors, first 'model\.layers\.1\.mlp\.up_proj\.weight'"):
        load_model(str(model_folder))


def test_a_missing_tokenizer_is_named(model_folder: Path) -> None:
    (model_folder / "tokenizer.json").unlink()
    (model_folder / "tokenizer_config.json").unlink()
    with pytest.raises(BadInput, match="no tokenizer can be read"):
        load_model(str(model_folder))


def test_dtype_and_device_are_checked(model_folder: Path) -> None:
    with pytest.raises(BadInput, match="dtype 'float8'"):
        load_model(str(model_folder), dtype="float8")
    if not torch.cuda.is_available():
        with pytest.raises(BadInput, match="sees no GPU"):
            load_model(str(model_folder), device="cuda")


def test_the_revision_follows_config_tokenizer_and_weights_and_nothing_else(
    model_folder: Path, tmp_path_factory
) -> None:
    before = model_revision(model_folder)
    copy = tmp_path_factory.mktemp("elsewhere") / "copy"
    shutil.copytree(model_folder, copy)
    (copy / "README.md").write_text("a model")
    assert model_revision(copy) == before
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        changed = bytearray((copy / name).read_bytes())
        changed[-2] ^= 1
        (copy / name).write_bytes(changed)
        assert model_revision(copy) != before, name
        shutil.copy(model_folder / name, copy / name)
    assert model_revision(copy) == before


def test_asking_about_models_loads_no_torch() -> None:
    code = (
        "import sys, neuron_atlas.adapters.subject_model.load, neuron_atlas.adapters.graphs.shards, "
        "neuron_atlas.core.attribution.trace; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'tokenizers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
