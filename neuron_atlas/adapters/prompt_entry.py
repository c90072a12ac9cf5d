"""A prompt as people write it in a file: in a prompt set, or in a study, where more fields go with it."""

from __future__ import annotations

from typing import cast

from pydantic import BaseModel, ConfigDict, Field

from neuron_atlas.core.records import Prompt


class PromptEntry(BaseModel):
    """One prompt of a file; the fields of `Prompt`, with the text called `prompt`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: str
    answer_prefix: str | None = None
    target_tokens: tuple[str, ...] = ()
    contrast: tuple[str, str] | None = None
    position: int = -1
    raw: bool = False
    tags: dict[str, str] = Field(default_factory=dict)

    def to_prompt(self) -> Prompt:
        """The prompt."""
        return Prompt(
            self.prompt, self.answer_prefix, self.target_tokens, self.contrast, self.position, self.raw, self.tags
        )


def strings_as_prompts(entries: object) -> object:
    """A list of prompts in which a plain string becomes a mapping with `prompt` alone; anything else as it is."""
    if not isinstance(entries, list):
        return entries
    return [{"prompt": entry} if isinstance(entry, str) else entry for entry in cast("list[object]", entries)]
