"""Prompts as they are written in files."""

from __future__ import annotations

from neuron_atlas.adapters.prompt_entry import PromptEntry, strings_as_prompts
from neuron_atlas.core.records import Prompt


def test_a_plain_string_is_a_prompt_of_its_own() -> None:
    assert strings_as_prompts(["a", {"prompt": "b"}]) == [{"prompt": "a"}, {"prompt": "b"}]
    assert strings_as_prompts("a") == "a"


def test_an_entry_is_a_prompt() -> None:
    entry = PromptEntry(prompt="a", contrast=("b", "c"), raw=True, tags={"d": "e"})
    assert entry.to_prompt() == Prompt("a", contrast=("b", "c"), raw=True, tags={"d": "e"})
