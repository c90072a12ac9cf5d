"""The block `metadata.neuron_atlas`: what a graph holds and the format has no field for. Written and read here.

Numbers that are not finite become null (JSON has no NaN) and come back as NaN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from neuron_atlas.core.json_types import JsonObject, JsonValue
from neuron_atlas.core.records import AttributionGraph, GraphSummary, Prompt, TraceOptions
from neuron_atlas.errors import BadInput

FORMAT = 1
"""Raised when the block changes its meaning."""


def _missing_is_nan(value: object) -> object:
    return math.nan if value is None else value


_Number = Annotated[float, BeforeValidator(_missing_is_nan)]
_Strict = ConfigDict(strict=True, extra="forbid", frozen=True)


class _PromptBlock(BaseModel):
    model_config = _Strict

    text: str
    answer_prefix: str | None
    target_tokens: list[str]
    contrast: Annotated[list[str], Field(min_length=2, max_length=2)] | None
    position: int
    raw: bool
    tags: dict[str, str]


class _OptionsBlock(BaseModel):
    model_config = _Strict

    k: int
    tau: float
    top_n: int | None
    mass: float | None
    max_nodes: int
    edge_tau: float
    rules: str
    centre_logits: bool
    exclude: list[str] = []


class _SummaryBlock(BaseModel):
    model_config = _Strict

    token_ids: list[int]
    position: int
    goal: str
    goal_value: _Number
    rules: str
    dtype: str
    is_trimmed: bool
    completeness: _Number
    replacement: _Number
    conservation_error: _Number
    kept_edge_share: _Number
    note: str
    model_id: str
    model_revision: str
    options: _OptionsBlock | None


class OwnBlock(BaseModel):
    """`metadata.neuron_atlas` of a document that this project wrote."""

    model_config = _Strict

    format: int
    n_layers: Annotated[int, Field(ge=0, le=10_000)]
    prompt: _PromptBlock
    summary: _SummaryBlock

    def to_prompt(self) -> Prompt:
        """The prompt, with the id it had."""
        p = self.prompt
        contrast = None if p.contrast is None else (p.contrast[0], p.contrast[1])
        return Prompt(p.text, p.answer_prefix, tuple(p.target_tokens), contrast, p.position, p.raw, p.tags)

    def to_summary(self, tokens: list[str]) -> GraphSummary:
        """The summary; `tokens` are the document's. Raises `BadInput` where the two disagree."""
        s = self.summary
        if len(s.token_ids) != len(tokens) or not 0 <= s.position < len(tokens):
            raise BadInput(
                f"metadata.neuron_atlas: {len(s.token_ids)} token ids and position {s.position}, but {len(tokens)} prompt_tokens"
            )
        options = None
        if s.options is not None:
            options = TraceOptions(**s.options.model_dump(exclude={"exclude"}), exclude=tuple(s.options.exclude))
        return GraphSummary(
            token_ids=tuple(s.token_ids),
            tokens=tuple(tokens),
            position=s.position,
            goal=s.goal,
            goal_value=s.goal_value,
            rules=s.rules,
            dtype=s.dtype,
            is_trimmed=s.is_trimmed,
            completeness=s.completeness,
            replacement=s.replacement,
            conservation_error=s.conservation_error,
            kept_edge_share=s.kept_edge_share,
            note=s.note,
            model_id=s.model_id,
            model_revision=s.model_revision,
            options=options,
        )


def read_own_block(block: object) -> OwnBlock | None:
    """The block of a document, or None where others wrote it. Raises `BadInput` for a newer format or a damaged block."""
    if block is None:
        return None
    stated = cast("dict[object, object]", block).get("format") if isinstance(block, dict) else None
    if isinstance(stated, int) and stated > FORMAT:
        raise BadInput(f"written by a newer neuron_atlas (format {stated}, known: {FORMAT}); update it and try again")
    try:
        return OwnBlock.model_validate(block)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"metadata.neuron_atlas.{path}: {first['msg']}") from error


def own_block(graph: AttributionGraph, n_layers: int) -> JsonObject:
    """The block of a graph, ready for JSON. Tokens are left out: they are in `metadata.prompt_tokens`."""
    prompt = _plain(asdict(graph.prompt))
    summary = _plain(asdict(graph.summary))
    assert isinstance(summary, dict)
    del summary["tokens"]
    return {"format": FORMAT, "n_layers": n_layers, "prompt": prompt, "summary": summary}


def _plain(value: object) -> JsonValue:
    """A dataclass's values as JSON has them: tuples as arrays, numbers that are not finite as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str | int | None):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in cast("list[object]", value)]
    raise TypeError(f"{type(value).__name__} has no JSON form")
