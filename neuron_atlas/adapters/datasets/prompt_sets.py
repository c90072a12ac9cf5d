"""Prompt sets as files: one YAML (or JSONL) file per set, named after it.

A YAML file holds `name`, `kind` (domain | baseline), `description` and `prompts`, each a string or a mapping with `prompt`
and optionally `answer_prefix`, `target_tokens`, `contrast`, `position`, `raw`, `tags`. A JSONL file holds one such mapping
per line; its set is named after the file and is of kind `domain`, or `baseline` when the name ends in `-baseline`.
A malformed file is refused whole, with the line or entry named, so that a partition never misses prompts in silence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from neuron_atlas.adapters.files import make_folder, write_atomically
from neuron_atlas.adapters.prompt_entry import PromptEntry, strings_as_prompts
from neuron_atlas.adapters.yaml_files import parse_yaml, read_text, validate_content
from neuron_atlas.core.records import NAME, Prompt, PromptSet
from neuron_atlas.errors import BadInput, UnknownName

MAX_FILE_BYTES = 256 * 1024 * 1024
PROMPTS_PER_SET = 1000
"""Prompts of one added set: a partition of this size is minutes of work, and Dagster stays well below its limits."""
_SUFFIXES = (".yaml", ".yml", ".jsonl")


class _PromptFile(BaseModel):
    """A prompt set as written in a file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=NAME.pattern)]
    kind: Literal["domain", "baseline"] = "domain"
    description: str = ""
    prompts: Annotated[tuple[PromptEntry, ...], BeforeValidator(strings_as_prompts)] = Field(min_length=1)


def prompt_entry(prompt: Prompt) -> dict[str, object]:
    """A prompt as it is written in a file; `read_prompt_file` gives it back."""
    fields = {"prompt" if name == "text" else name: value for name, value in asdict(prompt).items()}
    written = PromptEntry.model_validate(fields)
    return written.model_dump(mode="json", exclude_defaults=True)


@dataclass(frozen=True, slots=True)
class AddedPromptSets:
    """Names of the sets that were written, and how many prompts they have together."""

    names: tuple[str, ...]
    n_prompts: int


def add_prompt_file(file: Path, folder: Path, *, replace: bool = False) -> AddedPromptSets:
    """Check a prompt file and write its prompts into a folder of prompt sets, `PROMPTS_PER_SET` to a set.

    Raises `BadInput` for a file that is no prompt set, and for a name that the folder has unless it is to be replaced.
    """
    folder = make_folder(folder)
    read = read_prompt_file(file)
    parts = [read.prompts[i : i + PROMPTS_PER_SET] for i in range(0, len(read.prompts), PROMPTS_PER_SET)]
    names = [read.name] if len(parts) == 1 else [f"{read.name}-{i:04d}" for i in range(len(parts))]
    taken = sorted(set(names) & set(list_prompt_sets(folder)))
    if taken and not replace:
        raise BadInput(f"prompt sets {taken} exist in {folder}; pass --replace to overwrite them, or rename the file")
    for name, part in zip(names, parts, strict=True):
        entries = [prompt_entry(prompt) for prompt in part]
        content = {"name": name, "kind": read.kind, "description": read.description, "prompts": entries}
        write_atomically(folder / f"{name}.yaml", json.dumps(content, ensure_ascii=False, indent=1))  # JSON is YAML
    return AddedPromptSets(tuple(names), len(read.prompts))


def list_prompt_sets(folder: Path) -> list[str]:
    """The names of the prompt sets in a folder, sorted: file names alone, nothing is parsed."""
    return sorted(_files(folder))


def read_prompt_set(folder: Path, name: str) -> PromptSet:
    """Read one prompt set; raises `UnknownName` or `BadInput`. A prompt that stands twice is kept once."""
    files = _files(folder)
    if name not in files:
        raise UnknownName("prompt set", name, files, hint=f"Prompt sets are the files in {folder}.")
    return read_prompt_file(files[name])


def read_prompt_file(path: Path) -> PromptSet:
    """Read a prompt set from any file, `.yaml` or `.jsonl`."""
    text = read_text(path, max_bytes=MAX_FILE_BYTES, advice=": split it into shards")
    content = _parse_jsonl(path, text) if path.suffix == ".jsonl" else parse_yaml(path, text)
    parsed = validate_content(path, content, _PromptFile)
    if parsed.name != path.stem:
        raise BadInput(f"{path} names its set {parsed.name!r}; the file must be called {parsed.name}{path.suffix}")
    unique = {prompt.prompt_id: prompt for prompt in (entry.to_prompt() for entry in parsed.prompts)}
    return PromptSet(parsed.name, parsed.kind, tuple(unique.values()), parsed.description)


def _files(folder: Path) -> Mapping[str, Path]:
    if not folder.is_dir():
        raise BadInput(
            f"the prompt folder {folder} does not exist; set NEURON_ATLAS_PROMPTS to a folder of prompt sets"
        )
    files = {p.stem: p for p in sorted(folder.iterdir()) if p.suffix in _SUFFIXES and p.is_file()}
    bad = [name for name in files if not NAME.match(name)]
    if bad:
        raise BadInput(
            f"prompt files {bad} in {folder} need names of lower-case letters, digits, - and _ ({NAME.pattern})"
        )
    return files


def _parse_jsonl(path: Path, text: str) -> object:
    entries: list[object] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                entries.append(json.loads(line))
            except ValueError as error:
                raise BadInput(f"{path}, line {number}: not JSON: {error}") from error
    return {"name": path.stem, "kind": "baseline" if path.stem.endswith("-baseline") else "domain", "prompts": entries}
