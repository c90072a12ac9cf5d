"""Subject-verb agreement pairs in the files of Marks et al. 2024 (arXiv 2403.19647), as prompts that `evaluate` takes.

A folder holds `TEMPLATE_train.jsonl` and `TEMPLATE_test.jsonl`, one pair a line: a clean prefix with the verb form that agrees, and
a prefix that differs in the subject's number with the form that agrees there:

    {"clean_prefix": "The uncle", "patch_prefix": "The uncles", "clean_answer": " is", "patch_answer": " are", "case": "singular"}

Whether a pair can be used depends on the model's tokenizer: every word known, both prefixes of one length, both verbs one token.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from neuron_atlas.core.records import Prompt
from neuron_atlas.errors import BadInput

PARTS = ("train", "test")


class Tokens(Protocol):
    """What is asked of a model here."""

    @property
    def unknown_id(self) -> int | None: ...

    def encode(self, prompt: Prompt) -> list[int]: ...

    def token_id(self, text: str) -> tuple[int, bool]: ...


class _Line(BaseModel):
    """One pair as written in a file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    clean_prefix: str
    patch_prefix: str
    clean_answer: str
    patch_answer: str
    case: str


@dataclass(frozen=True)
class ReadablePairs:
    """The pairs of one file that a model can read, and how many it cannot, by reason."""

    prompts: tuple[Prompt, ...]
    skipped: Mapping[str, int]


def list_templates(folder: Path) -> list[str]:
    """Templates of which a folder has both files, sorted; raises `BadInput` where there are none."""
    found = {part: {file.stem.removesuffix(f"_{part}") for file in folder.glob(f"*_{part}.jsonl")} for part in PARTS}
    templates = sorted(found["train"] & found["test"])
    if not templates:
        raise BadInput(f"{folder} holds no pairs; expected files TEMPLATE_train.jsonl and TEMPLATE_test.jsonl")
    return templates


def read_agreement_pairs(folder: Path, template: str, part: str, *, lower_case: bool = False) -> tuple[Prompt, ...]:
    """The distinct pairs of one file as raw prompts with contrast and partner, in the file's order.

    `lower_case` is for models that know no capitals at the beginning of a text. Raises `BadInput` for a file that is not there
    or a line of another form.
    """
    path = folder / f"{template}_{part}.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read {path}: {error}") from error
    prompts: dict[str, Prompt] = {}
    for number, line in enumerate(lines, start=1):
        if line.strip():
            prompt = _prompt(_parsed(path, number, line), template, lower_case=lower_case)
            prompts.setdefault(prompt.prompt_id, prompt)
    return tuple(prompts.values())


def readable_pairs(tokens: Tokens, prompts: Sequence[Prompt]) -> ReadablePairs:
    """The pairs that a model's tokenizer can read."""
    faults = [_fault(tokens, prompt) for prompt in prompts]
    kept = tuple(prompt for prompt, fault in zip(prompts, faults, strict=True) if not fault)
    return ReadablePairs(kept, dict(Counter(fault for fault in faults if fault)))


def _parsed(path: Path, number: int, line: str) -> _Line:
    try:
        return _Line.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"{path}, line {number}: {where or 'the line'}: {first['msg']}") from error


def _prompt(line: _Line, template: str, *, lower_case: bool) -> Prompt:
    texts = (line.clean_prefix, line.patch_prefix)
    clean, patch = (text[:1].lower() + text[1:] for text in texts) if lower_case else texts
    return Prompt(
        clean,
        contrast=(line.clean_answer, line.patch_answer),
        raw=True,
        tags={"task": template, "case": line.case, "partner": patch},
    )


def _fault(tokens: Tokens, prompt: Prompt) -> str:
    """Why a pair cannot be used; empty where it can."""
    ids = tokens.encode(prompt)
    other = tokens.encode(Prompt(prompt.tags["partner"], raw=True))
    if tokens.unknown_id is not None and tokens.unknown_id in (*ids, *other):
        return "unknown word"
    if len(ids) != len(other):
        return "prefixes of different length"
    try:
        answers = [tokens.token_id(answer) for answer in prompt.contrast or ()]
    except BadInput:
        return "unknown verb"
    return "" if all(is_whole for _, is_whole in answers) else "verb of several tokens"
