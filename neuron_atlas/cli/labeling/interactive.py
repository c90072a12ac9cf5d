"""Labeling by hand, and looking through labels: one neuron at a time, one key at a time.

What is accepted or edited goes into the label store at once and is never overwritten; the session's place is written after every
step. `ask` is how a person is asked, so that tests can answer.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import click
from pydantic import ValidationError
from rich.text import Text

from neuron_atlas.adapters.files import write_atomically
from neuron_atlas.cli.labeling.label_data import LabelData
from neuron_atlas.cli.printing import cell, highlighted, out
from neuron_atlas.core.labeling.evidence.evidence_record import InputEvidence
from neuron_atlas.core.labeling.evidence.gather import GatheredEvidence
from neuron_atlas.core.labeling.evidence.label_record import INPUT_TYPES, OUTPUT_TYPES, Label, Unlabeled
from neuron_atlas.core.labeling.evidence.render import render
from neuron_atlas.core.labeling.labelers.language_model import question
from neuron_atlas.core.labeling.session_state import SessionState
from neuron_atlas.core.records import NeuronId, Side
from neuron_atlas.errors import BadInput, UserError
from neuron_atlas.settings import Settings

if TYPE_CHECKING:
    from neuron_atlas.adapters.atlas_duckdb import Atlas

AskPerson: TypeAlias = Callable[[str], str | None]
"""Asks a person a question; None when there is nobody any more (end of input)."""
KEYS = "[a]ccept  [r]egenerate  [e]dit  [s]kip  [f]ilter  [p]revious  [v]iew  [q]uit"
BROWSE_KEYS = "[n]ext (Enter)  [b]ack  [r]andom  [g]o to neuron  [l]ayer  [p]ass  [q]uit"
_SHOWN_LINES = 14
_SHOWN_TEXTS = 3


def ask_person(question: str) -> str | None:
    """One line from the terminal (or a pipe)."""
    try:
        return click.prompt(question, default="", show_default=False, prompt_suffix=" ")
    except (click.Abort, EOFError):
        return None


def interactive(
    room: LabelData, settings: Settings, side: Side, layers: list[int], *, resume: bool, ask: AskPerson = ask_person
) -> None:
    """Label one pass by hand, with the configured labeler's proposals."""
    revision = room.resources.model.spec().revision
    place = settings.root / "sessions" / f"{side}.json"
    if resume:
        if not place.exists():
            raise BadInput(f"there is no {side} session to resume; begin one without --resume")
        state = SessionState.read(place.read_text(), model_revision=revision)
    else:
        state = SessionState.begin(revision, side, layers)
    session = _Session(room, state, place, ask)
    session.run()


@dataclass
class _Session:
    room: LabelData
    state: SessionState
    place: Path
    ask: AskPerson
    pattern: re.Pattern[str] | None = None
    attempts: dict[str, int] = field(default_factory=dict[str, int])
    neurons: list[GatheredEvidence] = field(default_factory=list[GatheredEvidence])
    loaded: int | None = None

    def run(self) -> None:
        """Until the last neuron, or until the person leaves."""
        out.print(
            f"{self.state.side} pass, layers {', '.join(map(str, self.state.layers))}. Every label you give stays."
        )
        going = True
        while going:
            self._save()
            one = self._current()
            going = self._step(one) if one is not None else self._move(1)
        self._save()
        totals = ", ".join(f"{n} {name}" for name, n in self.state.totals().items())
        out.print(f"{totals}. Take the labels over with: neuron-atlas label")
        out.print(f"Go on with: neuron-atlas label --interactive --pass {self.state.side} --resume", style="dim")

    def _current(self) -> GatheredEvidence | None:
        """The neuron at hand; None where the layer has none left."""
        if self.loaded != self.state.layer:
            self.neurons = self.room.gathered(self.state.side, self.state.layer)
            self.loaded = self.state.layer
        if self.state.at == -1:
            self.state = self.state.model_copy(update={"at": max(0, len(self.neurons) - 1)})
        return self.neurons[self.state.at] if self.state.at < len(self.neurons) else None

    def _step(self, one: GatheredEvidence) -> bool:
        """Show one neuron and do what the person says; False ends the session."""
        name = one.evidence.name
        attempt = self.attempts.get(name, 0)
        proposal = next(iter(self.room.resources.labeler.load(attempt=attempt).label([one.evidence])))
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
            elif word == "r" and self.room.resources.labeler.is_paid:
                self.attempts[name] = attempt + 1
                return True
            elif word == "r":
                out.print(f"labeler {self.room.resources.labeler.kind} always answers the same; edit instead")
            elif word == "v":
                for message in question(one.evidence).messages:
                    out.print(Text(message.content))
            elif word == "f":
                self._filter()
                return self._fits(one) or self._move(1)
            else:
                out.print("there is nothing to accept; edit, or skip" if word == "a" else "one of a r e s f p v q")

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
        """The label as the person words it; None when they let it be."""
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
                raise BadInput(f"{kind!r} is no type of the {self.state.side} pass; expected one of {', '.join(types)}")
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
        seen, model = one.evidence, self.room.resources.model.spec()
        with self.room.resources.label_store.open() as store:
            store.put(
                NeuronId(seen.layer, seen.neuron), seen.polarity, self.state.side, label, model_revision=model.revision
            )
        self.state = self.state.noted(seen.name, outcome)
        out.print(Text(f"kept: {cell(label.label)}", style="green"))

    def _filter(self) -> None:
        text = (self.ask("only neurons whose evidence holds (a regular expression; empty: all):") or "").strip()
        try:
            self.pattern = re.compile(text, re.IGNORECASE) if text else None
        except re.error as error:
            out.print(f"{text!r} is no regular expression: {error}")

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
            out.print(Text(f"no {way} neuron holds {self.pattern.pattern!r}; the filter is off now", style="yellow"))
            self.state, self.pattern = before, None
            return True
        if step > 0:
            out.print("that was the last neuron")
        return step < 0

    def _save(self) -> None:
        self.place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.place, self.state.model_dump_json(indent=1))


def _tokens(said: str, before: Label | None) -> dict[str, tuple[str, ...] | tuple[int, ...]]:
    """The tokens a person named (ids are looked up later), or those proposed."""
    if not said and before is not None:
        return {"tokens": before.tokens, "token_ids": before.token_ids}
    return {"tokens": tuple(word.strip() for word in said.split(",") if word.strip() not in ("", "-"))}


LABELED = """
SELECT neuron_id, layer FROM neurons WHERE {side}_label IS NOT NULL ORDER BY layer, n_prompts DESC, neuron
"""


def browse(settings: Settings, side: Side, ask: AskPerson, *, seed: int | None = None) -> None:
    """Look through the labeled neurons of the atlas, from any place to any other."""
    from neuron_atlas.cli.open_stores import atlas

    chance = random.Random(seed)
    with atlas(settings.atlas) as opened:
        names, layers = _labeled(opened, side)
        at, hint = 0, BROWSE_KEYS
        _card(opened, names[at], f"{side} labels, {at + 1} of {len(names)}")
        while (key := ask(hint)) is not None:
            word, before = key.strip().lower()[:1] or "n", at
            if word == "q":
                return
            try:
                if word == "n":
                    at = min(at + 1, len(names) - 1)
                elif word == "b":
                    at = max(at - 1, 0)
                elif word == "r":
                    at = chance.randrange(len(names))
                elif word == "g":
                    wanted = str(NeuronId.parse(ask("neuron, as L4/N17:") or ""))
                    if wanted not in names:
                        raise BadInput(f"{wanted} has no {side} label")
                    at = names.index(wanted)
                elif word == "l":
                    text = (ask("layer:") or "").strip().lstrip("L")
                    if not text.isdigit() or int(text) not in layers:
                        raise BadInput(
                            f"no {side} label in layer {text!r}; layers {min(layers)} to {max(layers)} have some"
                        )
                    at = layers.index(int(text))
                elif word == "p":
                    current, side = names[at], "input" if side == "output" else "output"
                    names, layers = _labeled(opened, side)
                    at, before = names.index(current) if current in names else 0, -1
                else:
                    out.print("one of n b r g l p q")
                    continue
            except UserError as error:
                out.print(Text(str(error), style="red"))
                continue
            if at == before and word != "r":
                out.print(
                    "that was the last one" if word == "n" else "that is the first one" if word == "b" else "here it is"
                )
            _card(opened, names[at], f"{side} labels, {at + 1} of {len(names)}")


def _labeled(opened: Atlas, side: Side) -> tuple[list[str], list[int]]:
    found = opened.sql(LABELED.format(side=side))
    if found.is_empty():
        raise BadInput(
            f"no neuron of this atlas has an {side} label yet; run neuron-atlas label, then neuron-atlas build-db"
        )
    return found["neuron_id"].to_list(), found["layer"].to_list()


def _card(opened: Atlas, name: str, place: str) -> None:
    from neuron_atlas.cli.publication.neuron import print_card

    out.print()
    out.print(Text(place, style="dim"))
    print_card(opened.neuron(name, limit=5), exemplars=3)
