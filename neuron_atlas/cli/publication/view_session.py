"""One conversation of `neuron-atlas view`: what each command does and how it is shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
import polars as pl
from rich.table import Table
from rich.text import Text

from neuron_atlas.cli.printing import cell, highlighted, out, print_frame, progress
from neuron_atlas.core.publication import filters
from neuron_atlas.core.publication.view import NeuronView
from neuron_atlas.errors import AtlasError, BadInput, UnknownName

if TYPE_CHECKING:
    from neuron_atlas.core.publication.filters.neuron_facts import NeuronFacts

COMMANDS: Mapping[str, tuple[str, str]] = {
    "/filter": ("[FILTER]", "watch the neurons that pass FILTER; without one, show the current filter"),
    "/top": ("[COUNT]", "the strongest instances in the filter"),
    "/neurons": ("[COUNT]", "the neurons in the filter, with their clusters"),
    "/steer": (
        "STRENGTH [flip|add|scale] [FILTER]",
        "set them to a share of their own largest activations: 0 is off, 1 the largest",
    ),
    "/clear": ("[all]", "stop steering; all: clear the conversation too"),
    "/regenerate": ("[SEED]", "write the last answer again; with SEED, sampled at temperature 1 or the one given"),
    "/linter": ("", "what the neurons in the filter have in common"),
    "/show": ("L3/N17", "one neuron along the text"),
    "/read": ("TEXT", "read a plain text instead"),
    "/save": ("FILE", "write the view as JSON"),
    "/load": ("FILE", "continue a saved view"),
    "/help": ("", "show this list"),
    "/quit": ("", "leave"),
}
"""Command to (its arguments, what it does)."""


@dataclass(frozen=True)
class Answering:
    """How answers are written, and how many instances are shown after each."""

    max_new_tokens: int = 64
    temperature: float = 0.0
    seed: int = 0
    top: int = 5


class Session:
    """A view and how it talks. Results go to stdout: tables for people, one line of JSON each for machines."""

    def __init__(
        self, view: NeuronView, *, answering: Answering = Answering(), as_json: bool = False, title: str = ""
    ) -> None:
        self.view, self.answering, self.title = view, answering, title
        self._as_json = as_json
        self._does: dict[str, Callable[[str], None]] = {
            "/filter": self._filter, "/top": self._top, "/neurons": self._neurons, "/steer": self._steer,
            "/clear": self._clear, "/regenerate": self._regenerate, "/linter": self._linter, "/show": self._show_neuron,
            "/read": self._read, "/save": self._save, "/load": self._load, "/help": self._help,
        }  # fmt: skip

    @classmethod
    def opened(
        cls,
        *,
        model: str,
        device: str | None,
        dtype: str | None,
        atlas: Path,
        is_atlas_needed: bool,
        answering: Answering,
        as_json: bool,
    ) -> Session:
        """Load the model and, where there is one, its atlas."""
        from neuron_atlas.adapters.subject_model.load import load_model

        loaded = load_model(model, device=device, dtype=dtype)
        known = _known(atlas) if is_atlas_needed or atlas.is_file() else None
        if known is None:
            progress.print(
                f"There is no atlas at {atlas}: neurons have no labels, clusters or quantiles. Build one: neuron-atlas materialize",
                style="dim", markup=False,
            )  # fmt: skip
        what = "no atlas" if known is None else f"{known.descriptions.height} descriptions"
        title = f"{loaded.spec.model_id}, {loaded.spec.n_layers} layers of {loaded.spec.n_neurons} neurons, {what}"
        return cls(NeuronView(loaded, known), answering=answering, as_json=as_json, title=title)

    def do(self, line: str) -> bool:
        """Carry out one line; False when it says to leave. Raises `BadInput` or `UnknownName` for what cannot be done."""
        line = line.strip()
        if not line:
            return True
        if not line.startswith("/"):
            self._said(line)
            return True
        name, _, rest = line.partition(" ")
        if name == "/quit":
            return False
        if name not in self._does:
            raise UnknownName("command", name, COMMANDS)
        self._does[name](rest.strip())
        return True

    def show(self) -> None:
        """The strongest instances in the filter, as after every message."""
        if self.answering.top:
            self._top(str(self.answering.top))

    # ------------------------------------------------------------------------------------------------------------- talking
    def _said(self, text: str) -> None:
        how = self.answering
        answer = self.view.send(
            text, max_new_tokens=how.max_new_tokens, temperature=how.temperature, seed=how.seed, on_text=self._on_text()
        )
        self._written(answer, said=text)

    def _regenerate(self, rest: str) -> None:
        how = self.answering
        if rest:
            how = replace(how, seed=_whole(rest, "/regenerate"), temperature=how.temperature or 1.0)
        answer = self.view.regenerate(
            max_new_tokens=how.max_new_tokens, temperature=how.temperature, seed=how.seed, on_text=self._on_text()
        )
        self._written(answer)

    def _on_text(self) -> Callable[[str], None] | None:
        return None if self._as_json else lambda piece: out.print(Text(cell(piece), style="bold cyan"), end="")

    def _written(self, answer: str, *, said: str | None = None) -> None:
        if self._as_json:
            self._print({"said": said, "answer": answer, "n_tokens": len(self.view.token_ids), "neurons": self._rows()})
            return
        out.print()
        self.show()

    def _rows(self) -> pl.DataFrame:
        return self.view.instances(self.answering.top) if self.answering.top else self.view.instances(1).clear()

    def _read(self, rest: str) -> None:
        if not rest:
            raise BadInput("/read needs a text, e.g. /read the capital of Oregon is")
        self.view.read(rest)
        self.show()

    # ------------------------------------------------------------------------------------------------------------- looking
    def _filter(self, rest: str) -> None:
        before = self.view.filter
        if rest:
            self.view.filter = filters.filter_of(rest)
        try:
            held = None if self.view.reading is None else int(self.view.selection.anywhere.any(0).sum())
        except AtlasError:
            self.view.filter = before
            raise
        words = filters.text_of(self.view.filter)
        found: dict[str, object] = {"filter": words, "neurons": held, "json": json.loads(self.view.filter.to_json())}
        if self._as_json:
            self._print(found)
        else:
            out.print(Text(words if held is None else f"{words}: {held} neurons"), style="dim")
            if rest and held is not None:
                self.show()

    def _top(self, rest: str) -> None:
        rows = self.view.instances(_whole(rest, "/top") if rest else 20)
        if self._as_json:
            self._print({"neurons": rows})
            return
        shown = rows.with_columns(token=pl.format("{} @{}", pl.col("token").str.strip_chars(), "position"))
        number = "relevance" if rows["relevance"].null_count() < rows.height else "normalised"
        columns = ["neuron_id", "token", "activation", number, "label"]
        print_frame(shown, columns=columns, empty="No instance passes the filter.")

    def _neurons(self, rest: str) -> None:
        rows = self.view.neurons(_whole(rest, "/neurons") if rest else 20)
        if self._as_json:
            self._print({"neurons": rows})
        else:
            print_frame(
                rows,
                columns=["neuron_id", "polarity", "n_tokens", "normalised", "label", "cluster"],
                empty="No neuron passes.",
            )

    def _linter(self, rest: str) -> None:
        findings = self.view.linter()
        if self._as_json:
            self._print({"findings": [asdict(finding) for finding in findings]})
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("shared by", "neurons", "name", "at"):
            table.add_column(column)
        for finding in findings:
            by = f"module {finding.path}" if finding.by == "module" else f"meaning {finding.coherence:.2f}"
            table.add_row(*(Text(cell(v)) for v in (by, len(finding.neurons), finding.name, [*finding.tokens])))
        out.print(table if findings else Text("Nothing in common among three neurons or more.", style="dim"))

    def _show_neuron(self, rest: str) -> None:
        item = filters.filter_of(rest) if rest else None
        if not isinstance(item, filters.Ids) or len(item.items) != 1:
            raise BadInput("/show needs one neuron, e.g. /show L3/N17")
        layer, neuron = item.items[0].layer, item.items[0].neuron
        activations = self.view.activations()
        if layer >= activations.shape[0] or neuron >= activations.shape[2]:
            raise BadInput(
                f"{item.items[0].id} is outside the model; it has {activations.shape[0]} layers of {activations.shape[2]}"
            )
        values = [float(value) for value in activations[layer, :, neuron]]
        if self._as_json:
            self._print({"neuron_id": str(item.items[0].id), "tokens": self.view.tokens, "activations": values})
            return
        start = next((i for i, is_counted in enumerate(self._counted()) if is_counted), 0)
        tokens = self.view.tokens[start:]
        out.print(highlighted(tokens, values[start:], around=len(tokens)))
        told = self.view.known.best.filter(layer=layer, neuron=neuron)
        for row in told.sort("polarity", descending=True).iter_rows(named=True):
            out.print(Text(f"{'+' if row['polarity'] > 0 else '-'} {cell(row['label'])}", style="dim"))

    def _counted(self) -> list[bool]:
        reading = self.view.reading
        return [] if reading is None else reading.is_counted.tolist()

    # ------------------------------------------------------------------------------------------------------------ steering
    def _steer(self, rest: str) -> None:
        strength, _, rest = rest.partition(" ")
        word, _, after = rest.strip().partition(" ")
        rest = after if word in ("flip", "add", "scale") else rest
        try:
            number = float(strength)
        except ValueError as error:
            raise BadInput(
                f"/steer needs a strength first, e.g. /steer 0 or /steer 0.5 keyword:capital; got {strength!r}"
            ) from error
        done = self.view.steer(
            number,
            filter=filters.filter_of(rest) if rest.strip() else None,
            how="add" if word == "add" else "scale" if word == "scale" else "set",
            flip=word == "flip",
        )
        if self._as_json:
            self._print({"steered": done.n_neurons, "skipped": done.n_skipped, "edits": len(done.edits)})
            return
        skipped = f"; {done.n_skipped} skipped, because they have no quantiles" if done.n_skipped else ""
        out.print(
            Text(
                f"steering {done.n_neurons} neurons{skipped}. /regenerate shows the effect, /clear stops steering",
                style="dim",
            )
        )

    def _clear(self, rest: str) -> None:
        if rest not in ("", "all"):
            raise BadInput(f"/clear takes nothing or all; got {rest!r}")
        self.view.clear_steering()
        if rest == "all":
            self.view.clear()
        if self._as_json:
            self._print({"cleared": "everything" if rest else "steering"})
        else:
            what = "cleared the conversation; no neuron is steered" if rest else "no neuron is steered"
            out.print(Text(what), style="dim")

    # ------------------------------------------------------------------------------------------------------ saving, help
    def _save(self, rest: str) -> None:
        if not rest:
            raise BadInput("/save needs a file, e.g. /save salem.json")
        path = self.view.save(rest)
        if self._as_json:
            self._print({"saved": str(path)})
        else:
            out.print(Text(f"saved {path}", style="dim"))

    def _load(self, rest: str) -> None:
        if not rest:
            raise BadInput("/load needs a file that /save wrote")
        self.view = NeuronView.load(rest, self.view.model, self.view.known)
        if self._as_json:
            self._print({"turns": [asdict(turn) for turn in self.view.turns], "text": self.view.text})
            return
        for turn in self.view.turns:
            out.print(Text(f"{turn.role}: ", style="dim") + Text(cell(turn.text)))
        if self.view.text is not None:
            out.print(Text(cell(self.view.text)))

    def _help(self, rest: str) -> None:
        if self._as_json:
            self._print({"commands": {name: {"arguments": a, "does": d} for name, (a, d) in COMMANDS.items()}})
            return
        table = Table.grid(padding=(0, 2))
        for name, (arguments, does) in COMMANDS.items():
            table.add_row(Text(f"{name} {arguments}", style="bold"), Text(does))
        out.print(table)
        terms = ", ".join(f"{name}:{form}" for name, (_, form, _) in filters.TERMS.items())
        out.print(Text("\nA filter is made of terms side by side, `or`, `not` and brackets:", style="dim"))
        out.print(Text(terms, style="dim"))

    def _print(self, value: dict[str, object]) -> None:
        plain = {k: v.to_dicts() if isinstance(v, pl.DataFrame) else v for k, v in value.items()}
        click.echo(json.dumps(plain, ensure_ascii=False))


def _known(path: Path) -> NeuronFacts:
    from neuron_atlas.cli.open_stores import open_atlas

    return open_atlas(path).known()


def _whole(text: str, command: str) -> int:
    if not text.isdigit():
        raise BadInput(f"{command} takes a whole number; got {text!r}")
    return int(text)
