"""Where a labeling session stands: one pass over some layers, in the order of the pass, and what became of each neuron.

The state is small text, written after every step, so that a session ends anywhere and goes on there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from pydantic import Field, ValidationError

from neuron_atlas.core.labeling.evidence.label_record import Checked
from neuron_atlas.core.records import Side
from neuron_atlas.errors import BadInput, ConfigurationChanged

Outcome: TypeAlias = Literal["accepted", "edited", "skipped"]


class SessionState(Checked):
    """`layers` in the order of the pass; `layer` is the one at hand, `at` the place among its neurons, most useful first;
    `outcomes` by neuron and polarity (`L18/N6721+`)."""

    model_revision: str
    side: Side
    layers: tuple[int, ...]
    layer: int
    at: int = 0
    outcomes: Mapping[str, Outcome] = Field(default_factory=dict[str, Outcome])

    @classmethod
    def begin(cls, model_revision: str, side: Side, layers: Sequence[int]) -> SessionState:
        """At the first neuron: outputs from the last layer down, inputs from the first up."""
        ordered = tuple(sorted(layers, reverse=side == "output"))
        return cls(model_revision=model_revision, side=side, layers=ordered, layer=ordered[0])

    @classmethod
    def read(cls, text: str, *, model_revision: str) -> SessionState:
        """A state that was written. Raises `BadInput` when it is none, `ConfigurationChanged` for another model's."""
        try:
            state = cls.model_validate_json(text)
        except ValidationError as error:
            raise BadInput("the session's file cannot be read; begin anew without --resume") from error
        if state.model_revision != model_revision:
            raise ConfigurationChanged("the session was begun with another model; begin anew without --resume")
        return state

    def noted(self, name: str, outcome: Outcome) -> SessionState:
        """The same place, with what became of a neuron."""
        return self.model_copy(update={"outcomes": {**self.outcomes, name: outcome}})

    def moved(self, step: int, here: int) -> SessionState | None:
        """`step` neurons on (or back) in a layer of `here` neurons, into the next or former layer; None beyond the last. Before the
        first neuron it stays there; a former layer is entered at its end (`at` -1)."""
        at, place = self.at + step, self.layers.index(self.layer)
        if 0 <= at < here:
            return self.model_copy(update={"at": at})
        if at < 0:
            return self if place == 0 else self.model_copy(update={"layer": self.layers[place - 1], "at": -1})
        return (
            None
            if place + 1 == len(self.layers)
            else self.model_copy(update={"layer": self.layers[place + 1], "at": 0})
        )

    def totals(self) -> dict[Outcome, int]:
        """How many neurons of each outcome."""
        found: dict[Outcome, int] = {"accepted": 0, "edited": 0, "skipped": 0}
        for outcome in self.outcomes.values():
            found[outcome] += 1
        return found
