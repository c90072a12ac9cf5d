"""The state of labeling by hand: a pass over some layers, the neuron at hand, and what was decided about each.

The state is a small JSON text, written after every step, so that a session can stop anywhere and resume there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from pydantic import Field, ValidationError

from neuron_atlas.core.labeling.evidence.labeler_answer import Checked
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
        """The state in a session's file. Raises `BadInput` when it cannot be read, `ConfigurationChanged` for another model's."""
        try:
            state = cls.model_validate_json(text)
        except ValidationError as error:
            raise BadInput("the session file cannot be read; start a new session without --resume") from error
        if state.model_revision != model_revision:
            raise ConfigurationChanged("the session belongs to another model; start a new session without --resume")
        return state

    def noted(self, name: str, outcome: Outcome) -> SessionState:
        """The same place, with the decision about a neuron."""
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
        totals: dict[Outcome, int] = {"accepted": 0, "edited": 0, "skipped": 0}
        for outcome in self.outcomes.values():
            totals[outcome] += 1
        return totals
