"""Prompt files are read whole or refused with the place named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neuron_atlas.adapters.datasets.prompt_sets import (
    PROMPTS_PER_SET,
    add_prompt_file,
    list_prompt_sets,
    prompt_entry,
    read_prompt_set,
)
from neuron_atlas.core.records import Prompt
from neuron_atlas.errors import BadInput, UnknownName


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder


def test_yaml_with_strings_and_mappings(tmp_path: Path) -> None:
    text = """
name: capitals
kind: baseline
prompts:
  - the capital of Texas is
  - {prompt: the capital of Ohio is, target_tokens: [" Columbus"], contrast: [" Columbus", " Austin"], tags: {state: Ohio}}
  - the capital of Texas is
"""
    found = read_prompt_set(write(tmp_path, "capitals.yaml", text), "capitals")
    assert found.kind == "baseline"
    assert found.prompts == (
        Prompt("the capital of Texas is"),
        Prompt(
            "the capital of Ohio is",
            target_tokens=(" Columbus",),
            contrast=(" Columbus", " Austin"),
            tags={"state": "Ohio"},
        ),
    )


def test_jsonl_is_named_after_its_file(tmp_path: Path) -> None:
    found = read_prompt_set(write(tmp_path, "pile-0000.jsonl", '{"prompt": "a"}\n\n{"prompt": "b"}\n'), "pile-0000")
    assert [p.text for p in found.prompts] == ["a", "b"]
    assert list_prompt_sets(tmp_path) == ["pile-0000"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.yaml", "name: b\nprompts: [x]", "must be called b.yaml"),
        ("a.yaml", "name: a\nprompts: []", "prompts"),
        ("a.yaml", "name: a\nprompts: [{text: x}]", "prompts.0"),
        ("a.yaml", "name: a\nprompts: [x]\nshape: y", "shape"),
        ("a.yaml", "name: [", "not YAML"),
        ("a.yaml", "!!python/object/apply:os.system ['true']", "not YAML"),
        ("a.jsonl", '{"prompt": "x"}\n{', "line 2"),
        ("A b.yaml", "name: a\nprompts: [x]", "lower-case"),
    ],
)
def test_malformed_files_are_refused(tmp_path: Path, name: str, text: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        read_prompt_set(write(tmp_path, name, text), "a")


def test_unknown_set_names_the_known_ones(tmp_path: Path) -> None:
    write(tmp_path, "geography.yaml", "name: geography\nprompts: [x]")
    with pytest.raises(UnknownName, match=r"known: geography\. Did you mean 'geography'"):
        read_prompt_set(tmp_path, "geografy")


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt("a"),
        Prompt(
            "a: 'b'\n# c",
            answer_prefix="d",
            target_tokens=(" e",),
            contrast=(" f", " g"),
            position=-2,
            raw=True,
            tags={"h": "i"},
        ),
    ],
)
def test_a_written_prompt_is_read_back(tmp_path: Path, prompt: Prompt) -> None:
    text = json.dumps({"name": "a", "prompts": [prompt_entry(prompt)]})
    assert read_prompt_set(write(tmp_path, "a.yaml", text), "a").prompts == (prompt,)


def test_an_added_file_becomes_sets_of_bounded_size(tmp_path: Path) -> None:
    lines = [json.dumps({"prompt": f"prompt {i}"}) for i in range(PROMPTS_PER_SET + 1)]
    file = write(tmp_path, "many.jsonl", "\n".join(lines)) / "many.jsonl"
    folder = tmp_path / "prompts"
    added = add_prompt_file(file, folder)
    assert (added.names, added.n_prompts) == (("many-0000", "many-0001"), PROMPTS_PER_SET + 1)
    assert list_prompt_sets(folder) == ["many-0000", "many-0001"]
    texts = [prompt.text for name in added.names for prompt in read_prompt_set(folder, name).prompts]
    assert texts == [f"prompt {i}" for i in range(PROMPTS_PER_SET + 1)]


def test_a_set_of_the_same_name_is_only_replaced_on_request(tmp_path: Path) -> None:
    file = write(tmp_path, "mine-baseline.jsonl", '{"prompt": "a", "tags": {"n": "1"}}') / "mine-baseline.jsonl"
    folder = tmp_path / "prompts"
    assert add_prompt_file(file, folder).names == ("mine-baseline",)
    file.write_text('{"prompt": "b"}')
    with pytest.raises(BadInput, match="exist in"):
        add_prompt_file(file, folder)
    assert read_prompt_set(folder, "mine-baseline").prompts == (Prompt("a", tags={"n": "1"}),)
    add_prompt_file(file, folder, replace=True)
    found = read_prompt_set(folder, "mine-baseline")
    assert (found.prompts, found.kind) == ((Prompt("b"),), "baseline")
