"""The result of an analysis as it is stored: one JSON document, checked when it is read.

Neurons are named `L3/N7`, positions count from 0, relevance, direct, flow and changes are in logits, probabilities 0..1. What is
missing has its reason beside it: a module without name in `unnamed`, an account that did not come as an `Absent`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from neuron_atlas.errors import BadInput

FORMAT = "neuron_atlas/analysis/1"
"""The format that a document names; other versions are refused."""


class RecordPart(BaseModel):
    """Part of a stored result: frozen, and unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Absent(RecordPart):
    """Something that is missing, and why."""

    reason: str


class Answer(RecordPart):
    """A traced answer; `goal_weight` is its weight in the goal."""

    token_id: int
    token: str
    logit: float
    probability: float
    goal_weight: float


class WrittenToken(RecordPart):
    """A token a module raises or lowers: `logit` is what the module adds to it (see `modules/logit_lens.py`)."""

    token: str
    logit: float


class ReadToken(RecordPart):
    """A token of the prompt that a module reads directly, with the |flow| between them (logits)."""

    position: int
    token: str
    flow_abs: float


class Member(RecordPart):
    """A neuron instance; `does` and `fires_on` are its labels for this sign of activation, where there are any; `reason` says
    why it is in no module."""

    neuron: str
    position: int
    token: str
    activation: float
    relevance: float
    direct: float
    does: str | None = None
    fires_on: str | None = None
    reason: str | None = None


class TokenChange(RecordPart):
    """What a change did to one token: see `interventions/steering.py:Steered`."""

    token_id: int
    token: str
    logit: float
    logit_after: float
    logit_change: float
    probability: float
    probability_after: float
    random_change: float | None
    random_std: float | None
    random_share: float | None


class Effect(RecordPart):
    """What the model says when some neurons are changed; `random_top_kept` is the share of random sets, changed alike, that leave
    the likeliest token as it was."""

    n_neurons: int
    n_random_sets: int
    top: str
    top_after: str
    random_top_kept: float | None
    tokens: tuple[TokenChange, ...]


class Module(RecordPart):
    """Neuron instances that work together.

    `theme` is what most of its labeled members do, by |relevance| (`theme_share`); `share` the members' relevance over the goal's
    value; `reads` the tokens that drive them most (|flow| in logits); `zeroed` the answer without them.
    """

    module: int
    path: str
    name: str | None
    unnamed: str | None
    theme: str | None
    theme_share: float
    size: int
    layer_min: int
    layer_max: int
    positions: tuple[int, ...]
    relevance: float
    direct: float
    share: float | None
    flow_in: float
    flow_out: float
    within: float
    reads: tuple[ReadToken, ...]
    promotes: tuple[WrittenToken, ...]
    suppresses: tuple[WrittenToken, ...]
    members: tuple[Member, ...]
    zeroed: Effect | None


PartKind = Literal["token", "module", "rest", "answer"]


class Flow(RecordPart):
    """What passes from one part to another; a part is a token's position, a module's number, 0 for the rest, the index of an
    answer."""

    source_kind: PartKind
    source: int
    target_kind: PartKind
    target: int
    flow: float
    flow_abs: float
    n_links: int


class Swap(RecordPart):
    """A module whose activations are set to those on the donor prompt, together with the donor's module that matches it
    (`likeness` 0..1)."""

    module: int
    donor_module: int
    likeness: float
    effect: Effect


class Donor(RecordPart):
    """The other prompt, and the effect of setting each module to its activations there. Modules without match were not swapped.

    `answer` is its likeliest token; `contrast` the prompt's logit difference there (None without a contrast)."""

    text: str
    tokens: tuple[str, ...]
    answer: str
    contrast: float | None
    swaps: tuple[Swap, ...]


class Concept(RecordPart):
    """A concept searched for in the tokens that modules write: the module found (none where no module is eligible), how many of
    the `rivals` it writes more than the concept's tokens, on average (0: the concept comes first), and by how much it writes the
    tokens above the rivals' mean (`margin`, logits). `rivals` is the number of tokens that the concept was compared with; 0 for
    the whole vocabulary."""

    name: str
    tokens: tuple[str, ...]
    rivals: int
    module: int | None
    rank: float | None
    margin: float | None


class ComparedAnswer(RecordPart):
    """One of several answers: how many instances count for it, and for it alone (see `compare_answers.py`)."""

    token_id: int
    token: str
    logit: float
    probability: float
    counting: int
    specific: int


class SharedInstance(RecordPart):
    """An instance that counts for all answers: relevance to each, in their order."""

    neuron: str
    position: int
    token: str
    module: int | None
    relevance: tuple[float, ...]


class SpecificInstance(RecordPart):
    """An instance that counts for one answer alone."""

    neuron: str
    position: int
    token: str
    module: int | None
    answer: int
    relevance: tuple[float, ...]


class Discriminator(RecordPart):
    """An instance that distinguishes answer `over` from answer `under`: `difference` above zero favours `over`."""

    neuron: str
    position: int
    token: str
    module: int | None
    over: int
    under: int
    relevance_over: float
    relevance_under: float
    difference: float
    is_opposed: bool


class Answers(RecordPart):
    """Several answers compared."""

    answers: tuple[ComparedAnswer, ...]
    shared: tuple[SharedInstance, ...]
    specific: tuple[SpecificInstance, ...]
    discriminators: tuple[Discriminator, ...]


class ModuleAccount(RecordPart):
    """The language model's name for a module and what it says the module does."""

    module: int
    name: Annotated[str, Field(max_length=80)]
    function: Annotated[str, Field(max_length=400)]


class Synthesis(RecordPart):
    """A language model's account of the circuit. It saw the numbers above and no other evidence."""

    language_model: str
    modules: tuple[ModuleAccount, ...]
    narrative: Annotated[str, Field(max_length=4000)]
    insights: tuple[Annotated[str, Field(max_length=400)], ...]


class Settings(RecordPart):
    """The options that shaped the modules and tests."""

    view: str
    min_size: int
    split_above: int
    max_depth: int
    splits: tuple[str, ...]
    max_gap: int
    max_span: int
    random_sets: int
    compared_answers: int
    seed: int


class AnalysisRecord(RecordPart):
    """One prompt's circuit (see the package). `key` is the sha256 of what was asked for (see `analyze.request_key`); `goal_value`
    and `scores` as in table `graphs`; `saving` as in `GraphModules`; `tags` are the prompt's own."""

    format: Literal["neuron_atlas/analysis/1"] = FORMAT
    code_version: str
    key: str
    prompt: str
    answer_prefix: str | None
    prompt_id: str
    tags: dict[str, str]
    model_id: str
    model_revision: str
    rules: str
    goal: str
    goal_value: float | None
    position: int
    tokens: tuple[str, ...]
    answers: tuple[Answer, ...]
    scores: dict[str, float | None]
    n_neurons: int
    n_links: int
    settings: Settings
    saving: float
    modules: tuple[Module, ...]
    unclustered: tuple[Member, ...]
    flows: tuple[Flow, ...]
    concepts: tuple[Concept, ...]
    donor: Donor | None
    compared: Answers | Absent
    synthesis: Synthesis | Absent
    notes: tuple[str, ...]


def read_record(text: str) -> AnalysisRecord:
    """The record of a JSON document. Raises `BadInput` naming the first field that does not fit."""
    try:
        return AnalysisRecord.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise BadInput(f"not an analysis of format {FORMAT}: {where}: {first['msg']}") from error
