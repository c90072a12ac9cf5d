"""A view on disk: one JSON document of the conversation or text, the filter and the steering, with the model it belongs to."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from neuron_atlas.core.publication.filters import EVERYTHING, Filter
from neuron_atlas.core.publication.view.steering import How, Steering
from neuron_atlas.core.records import Edit, ModelSpec, Turn
from neuron_atlas.errors import BadInput

VERSION = 1


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


class SavedTurn(_Part):
    """One message."""

    role: Literal["system", "user", "assistant"]
    text: str


class SavedEdit(_Part):
    """One edit of a neuron's activation."""

    layer: int = Field(ge=0)
    neuron: int = Field(ge=0)
    value: float = Field(allow_inf_nan=False)
    position: int | None = Field(None, ge=0)
    how: How = "set"


class SavedSteering(_Part):
    """One intervention, with the edits it was turned into: they are taken as they stand, not worked out again."""

    filter: Filter
    strength: float
    how: How
    level: float
    is_flipped: bool
    edits: tuple[SavedEdit, ...]
    n_neurons: int
    n_skipped: int


class SavedView(_Part):
    """Everything a view is made of. `written` is what the model wrote after a plain `text`."""

    format: Literal["neuron_atlas.view"] = "neuron_atlas.view"
    version: int
    model_id: str
    model_revision: str
    turns: tuple[SavedTurn, ...] = ()
    text: str | None = None
    written: str = ""
    filter: Filter = EVERYTHING
    steering: tuple[SavedSteering, ...] = ()

    @property
    def conversation(self) -> tuple[Turn, ...]:
        """The messages."""
        return tuple(Turn(turn.role, turn.text) for turn in self.turns)

    @property
    def interventions(self) -> tuple[Steering, ...]:
        """The steering."""
        return tuple(
            Steering(
                s.filter, s.strength, s.how, s.level, s.is_flipped,
                tuple(Edit(e.layer, e.neuron, e.value, e.position, e.how) for e in s.edits), s.n_neurons, s.n_skipped,
            )
            for s in self.steering
        )  # fmt: skip


def saved_steering(steering: Steering) -> SavedSteering:
    """One intervention as it is saved."""
    return SavedSteering(
        filter=steering.wanted,
        strength=steering.strength,
        how=steering.how,
        level=steering.level,
        is_flipped=steering.is_flipped,
        edits=tuple(
            SavedEdit(layer=e.layer, neuron=e.neuron, value=e.value, position=e.position, how=e.how)
            for e in steering.edits
        ),
        n_neurons=steering.n_neurons,
        n_skipped=steering.n_skipped,
    )


def read_saved(text: str, spec: ModelSpec) -> SavedView:
    """The view of a JSON document. Raises `BadInput` when it is none, is of a newer version, or belongs to another model."""
    try:
        saved = SavedView.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the document"
        raise BadInput(f"this is not a saved view: {place}: {first['msg']}") from error
    if saved.version != VERSION:
        raise BadInput(
            f"the view was saved in version {saved.version}; this release reads version {VERSION}. Save it again there"
        )
    if saved.model_revision != spec.revision:
        raise BadInput(
            f"the view was saved with model {saved.model_id} ({saved.model_revision[:8]}), this one is {spec.model_id} "
            f"({spec.revision[:8]}): its neurons are others. Load that model"
        )
    return saved
