"""Labeling by hand (`label --interactive`): one neuron at a time, one key at a time.

What is accepted or edited goes into the label store at once and is never overwritten; the session's state is written after every
step. `ask` puts a question to the person, so that tests can answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import click
from pydantic import ValidationError
from rich.text import Text

from neuron_atlas.adapters.files import write_atomically
from neuron_atlas.cli.labeling.label_data import LabelData
from neuron_atlas.cli.printing import cell, highlighted, out
from neuron_atlas.core.labeling.evidence.evidence_record import InputEvidence
from neuron_atlas.core.labeling.evidence.gather import GatheredEvidence
from neuron_atlas.core.labeling.evidence.labeler_answer import INPUT_TYPES, OUTPUT_TYPES, Label, Unlabeled
from neuron_atlas.core.labeling.evidence.render import render
from neuron_atlas.core.labeling.hand_labeling_state import SessionState
from neuron_atlas.core.labeling.labelers.language_model import label_request
from neuron_atlas.core.records import NeuronId, Side
from neuron_atlas.errors import BadInput
from neuron_atlas.settings import Settings

AskPerson: TypeAlias = Callable[[str], str | None]
"""Asks a person a question; None at the end of the input."""
KEYS = "[a]ccept  [r]egenerate  [e]dit  [s]kip  [f]ilter  [p]revious  [v]iew  [q]uit"
_SHOWN_LINES = 14
_SHOWN_TEXTS = 3


def ask_person(question: str) -> str | None:
    """One line from the terminal (or a pipe)."""
    try:
        return click.prompt(question, default="", show_default=False, prompt_suffix=" ")
    except (click.Abort, EOFError):
        return None


def label_by_hand(
    data: LabelData, settings: Settings, side: Side, layers: list[int], *, resume: bool, ask: AskPerson = ask_person
) -> None:
    """Label one pass by hand, with the configured labeler's proposals."""
    revision = data.resources.model.spec().revision
    path = settings.root / "sessions" / f"{side}.json"
    if resume:
        if not path.exists():
            raise BadInput(f"there is no {side} session to resume; start one without --resume")
        state = SessionState.read(path.read_text(), model_revision=revision)
    else:
        state = SessionState.begin(revision, side, layers)
    session = _Session(data, state, path, ask)
    session.run()


@dataclass
class _Session:
    data: LabelData
    state: SessionState
    path: Path
    ask: AskPerson
    pattern: re.Pattern[str] | None = None
    attempts: dict[str, int] = field(default_factory=dict[str, int])
    neurons: list[GatheredEvidence] = field(default_factory=list[GatheredEvidence])
    loaded: int | None = None

    def run(self) -> None:
        """Until the last neuron, or until the person leaves."""
        out.print(
            f"{self.state.side} pass, layers {', '.join(map(str, self.state.layers))}. Every label you give is kept."
        )
        going = True
        while going:
            self._save()
            one = self._current()
            going = self._step(one) if one is not None else self._move(1)
        self._save()
        totals = ", ".join(f"{n} {name}" for name, n in self.state.totals().items())
        out.print(f"{totals}. Store the labels in the atlas with: neuron-atlas label")
        out.print(f"Continue with: neuron-atlas label --interactive --pass {self.state.side} --resume", style="dim")

    def _current(self) -> GatheredEvidence | None:
        """The neuron at hand; None where the layer has none left."""
        if self.loaded != self.state.layer:
            self.neurons = self.data.gathered(self.state.side, self.state.layer)
            self.loaded = self.state.layer
        if self.state.at == -1:
            self.state = self.state.model_copy(update={"at": max(0, len(self.neurons) - 1)})
        return self.neurons[self.state.at] if self.state.at < len(self.neurons) else None

    def _step(self, one: GatheredEvidence) -> bool:
        """Show one neuron and do what the person says; False ends the session."""
        name = one.evidence.name
        attempt = self.attempts.get(name, 0)
        proposal = next(iter(self.data.resources.labeler.load(attempt=attempt).label([one.evidence])))
        self._show(one, proposal)
        while True:
            key = self.ask(KEYS)
            word = (key or "q").strip().lower()[:1] if key is not None else "q"
            if word == "q":
                return False
            if word == "a" and isinstance(proposal, Label):
                self._keep(one, proposal, "accepted")
                return self._move(1)
            if word == "e":
                made = self._edited(proposal)
                if made is not None:
                    self._keep(one, made, "edited")
                    return self._move(1)
            elif word == "s":
                self.state = self.state.noted(name, "skipped")
                return self._move(1)
            elif word == "p":
                return self._move(-1)
            elif word == "r" and self.data.resources.labeler.is_paid:
                self.attempts[name] = attempt + 1
                return True
            elif word == "r":
                out.print(f"labeler {self.data.resources.labeler.kind} always gives the same answer; edit it instead")
            elif word == "v":
                for message in label_request(one.evidence).messages:
                    out.print(Text(message.content))
            elif word == "f":
                self._filter()
                return self._fits(one) or self._move(1)
            else:
                out.print(
                    "there is no label to accept: edit (e) or skip (s)"
                    if word == "a"
                    else "expected one of a r e s f p v q"
                )

    def _show(self, one: GatheredEvidence, proposal: Label | Unlabeled) -> None:
        place = f"layer {self.state.layer}, {self.state.at + 1} of {len(self.neurons)}"
        done = self.state.outcomes.get(one.evidence.name)
        out.print()
        out.print(Text(one.evidence.name, style="bold"), Text(f"{place}{f', {done}' if done else ''}", style="dim"))
        lines = render(one.evidence).partition("\nDATA: ")[0].splitlines()[1:]
        for line in lines[:_SHOWN_LINES]:
            out.print(Text(cell(line)))
        if len(lines) > _SHOWN_LINES:
            out.print(Text(f"… {len(lines) - _SHOWN_LINES} more lines: v", style="dim"))
        if isinstance(one.evidence, InputEvidence):
            for kind, texts in (("fires", one.evidence.exemplars), ("stays low", one.evidence.others)):
                for text in texts[:_SHOWN_TEXTS]:
                    shown = highlighted(text.tokens, text.activations, peak=text.peak)
                    out.print(Text(f"{kind:<9} ", style="dim") + (shown if kind == "fires" else Text(shown.plain)))
        if isinstance(proposal, Label):
            out.print(
                Text(proposal.label, style="bold cyan"),
                Text(f"[{proposal.type}, confidence {proposal.confidence:.2f}]"),
            )
            out.print(Text(proposal.description))
        else:
            out.print(Text(f"no label proposed: {proposal.reason}", style="yellow"))

    def _edited(self, proposal: Label | Unlabeled) -> Label | None:
        """The label as the person edits it; None when they leave it."""
        before = proposal if isinstance(proposal, Label) else None
        types = OUTPUT_TYPES if self.state.side == "output" else INPUT_TYPES
        asked = {
            "label": f"label, 3 to 8 words (empty: {before.label if before else 'leave it'}):",
            "description": "description, a sentence (empty: as proposed):",
            "tokens": "tokens it predicts, separated by commas (empty: as proposed; -: none):",
            "type": f"type, one of {', '.join(types)} (empty: {before.type if before else 'unknown'}):",
        }
        given: dict[str, str] = {}
        for name, words in asked.items():
            answer = self.ask(words)
            if answer is None:
                return None
            given[name] = answer.strip()
        text = given["label"] or (before.label if before else "")
        if not text:
            return None
        kind = given["type"] or (before.type if before else "unknown")
        try:
            if kind not in types:
                raise BadInput(
                    f"{kind!r} is not a type of the {self.state.side} pass; expected one of {', '.join(types)}"
                )
            return Label.model_validate(
                {
                    "label": text,
                    "description": given["description"] or (before.description if before else text),
                    "type": kind,
                    "confidence": 1.0,
                    "direction": before.direction if before else 1,
                    **_tokens(given["tokens"], before),
                }
            )
        except (ValidationError, BadInput) as error:
            said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            out.print(Text(f"not kept: {said}", style="red"))
            return None

    def _keep(self, one: GatheredEvidence, label: Label, outcome: Literal["accepted", "edited"]) -> None:
        seen, model = one.evidence, self.data.resources.model.spec()
        with self.data.resources.label_store.open() as store:
            store.put(
                NeuronId(seen.layer, seen.neuron), seen.polarity, self.state.side, label, model_revision=model.revision
            )
        self.state = self.state.noted(seen.name, outcome)
        out.print(Text(f"kept: {cell(label.label)}", style="green"))

    def _filter(self) -> None:
        text = (self.ask("show only neurons whose evidence matches (a regular expression; empty: all):") or "").strip()
        try:
            self.pattern = re.compile(text, re.IGNORECASE) if text else None
        except re.error as error:
            out.print(f"{text!r} is not a regular expression: {error}")

    def _fits(self, one: GatheredEvidence) -> bool:
        """Whether the filter lets a neuron through."""
        return self.pattern is None or self.pattern.search(render(one.evidence)) is not None

    def _move(self, step: int) -> bool:
        """To the next neuron that the filter lets through, or the one before; False beyond the last of all neurons."""
        before = self.state
        while True:
            self._current()
            moved = self.state.moved(step, len(self.neurons))
            if moved is None or moved == self.state:
                break
            self.state = moved
            one = self._current()
            if one is not None and self._fits(one):
                return True
        if self.pattern is not None:
            way = "further" if step > 0 else "earlier"
            out.print(Text(f"no {way} neuron matches {self.pattern.pattern!r}; the filter is now off", style="yellow"))
            self.state, self.pattern = before, None
            return True
        if step > 0:
            out.print("that was the last neuron")
        return step < 0

    def _save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, self.state.model_dump_json(indent=1))


def _tokens(said: str, before: Label | None) -> dict[str, tuple[str, ...] | tuple[int, ...]]:
    """The tokens a person named (ids are looked up later), or those proposed."""
    if not said and before is not None:
        return {"tokens": before.tokens, "token_ids": before.token_ids}
    return {"tokens": tuple(word.strip() for word in said.split(",") if word.strip() not in ("", "-"))}
