"""Study files: prompts with their donors and concepts, and the options for all of them.

    name: two-hop-geography
    trace: {tau: 0.005}
    analyze: {max_depth: 1}
    prompts:
      - prompt: the capital of the state containing Bend is
        contrast: [" Salem", " Boise"]
        donor: the capital of the state containing Nampa is
        concepts:
          capital: " Salem"
          state: {tokens: [" Oregon"], rivals: [" Idaho", " Texas"]}

A prompt may also be a plain string, and a concept a single token (see `core/circuits/analysis/modules/concepts.py`).
Unknown keys are refused, with the known ones named.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from neuron_atlas.adapters.prompt_entry import PromptEntry, strings_as_prompts
from neuron_atlas.adapters.yaml_files import parse_yaml, read_text, validate_content
from neuron_atlas.core.circuits.analysis.analyze import AnalyzeOptions
from neuron_atlas.core.circuits.analysis.modules.concepts import ConceptQuery
from neuron_atlas.core.records import NAME, Prompt, TraceOptions

MAX_FILE_BYTES = 16 * 2**20


@dataclass(frozen=True)
class StudyTask:
    """One prompt to analyze, with its donor's text and concepts."""

    prompt: Prompt
    donor: str | None
    concepts: dict[str, ConceptQuery]


@dataclass(frozen=True)
class StudyConfig:
    """A study: what to analyze and how; `model` is None for the model of the settings."""

    name: str
    description: str
    model: str | None
    tracing: TraceOptions
    options: AnalyzeOptions
    tasks: tuple[StudyTask, ...]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Concept(_Strict):
    tokens: tuple[str, ...] = Field(min_length=1)
    rivals: tuple[str, ...] = ()
    at: str | None = None


class _Task(PromptEntry):
    prompt: Annotated[str, Field(min_length=1)]
    donor: str | None = None
    concepts: dict[str, str | _Concept] = Field(default_factory=dict)

    def to_task(self) -> StudyTask:
        concepts = {
            name: ConceptQuery((one,)) if isinstance(one, str) else ConceptQuery(one.tokens, one.rivals, one.at)
            for name, one in self.concepts.items()
        }
        return StudyTask(self.to_prompt(), self.donor, concepts)


class _Trace(_Strict):
    k: Annotated[int, Field(ge=1, le=1000)] = 5
    tau: Annotated[float, Field(gt=0, lt=1)] = 0.005
    top_n: Annotated[int, Field(ge=1)] | None = None
    mass: Annotated[float, Field(gt=0, le=1)] | None = None
    max_nodes: Annotated[int, Field(ge=1)] = 4000
    edge_tau: Annotated[float, Field(ge=0, lt=1)] = 0.01
    rules: str = "relp"
    centre_logits: bool = False
    exclude: tuple[str, ...] = ()


class _Analyze(_Strict):
    view: Literal["roles", "flow"] = "roles"
    min_size: Annotated[int, Field(ge=2)] = 2
    split_above: Annotated[int, Field(ge=2)] = 40
    max_depth: Annotated[int, Field(ge=1)] = 3
    splits: tuple[Literal["answer", "position", "layer", "side"], ...] = ("answer", "position")
    max_gap: Annotated[int, Field(ge=0)] = 3
    max_span: Annotated[int, Field(ge=0)] = 10
    random_sets: Annotated[int, Field(ge=0, le=1000)] = 20
    compared_answers: Annotated[int, Field(ge=0, le=100)] = 5
    seed: Annotated[int, Field(ge=0)] = 0


class _Config(_Strict):
    name: Annotated[str, Field(pattern=NAME.pattern)]
    description: str = ""
    model: str | None = None
    trace: _Trace = _Trace()
    analyze: _Analyze = _Analyze()
    prompts: Annotated[tuple[_Task, ...], BeforeValidator(strings_as_prompts)] = Field(min_length=1)


def read_study_config(path: Path) -> StudyConfig:
    """Read a study's file. Raises `BadInput` naming the file, the place in it and what was expected."""
    parsed = validate_content(path, parse_yaml(path, read_text(path, max_bytes=MAX_FILE_BYTES)), _Config)
    return StudyConfig(
        name=parsed.name,
        description=parsed.description,
        model=parsed.model,
        tracing=TraceOptions(**parsed.trace.model_dump()),
        options=AnalyzeOptions(**parsed.analyze.model_dump()),
        tasks=tuple(task.to_task() for task in parsed.prompts),
    )


def shipped_studies() -> dict[str, Path]:
    """The studies that come with the demo model, by name."""
    folder = Path(str(resources.files("neuron_atlas.demo").joinpath("studies")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
