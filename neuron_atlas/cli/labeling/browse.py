"""Looking through the labels of an atlas (`label --browse`): from any neuron to any other, one key at a time."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from rich.text import Text

from neuron_atlas.cli.labeling.interactive import AskPerson
from neuron_atlas.cli.printing import out
from neuron_atlas.core.records import NeuronId, Side
from neuron_atlas.errors import BadInput, UserError
from neuron_atlas.settings import Settings

if TYPE_CHECKING:
    from neuron_atlas.adapters.atlas_duckdb import Atlas

BROWSE_KEYS = "[n]ext (Enter)  [b]ack  [r]andom  [g]o to neuron  [l]ayer  [p]ass  [q]uit"
LABELED = """
SELECT neuron_id, layer FROM neurons WHERE {side}_label IS NOT NULL ORDER BY layer, n_prompts DESC, neuron
"""


def browse(settings: Settings, side: Side, ask: AskPerson, *, seed: int | None = None) -> None:
    """Look through the labeled neurons of the atlas; `ask` puts each question to the person."""
    from neuron_atlas.cli.open_stores import open_atlas

    chance = random.Random(seed)
    with open_atlas(settings.atlas) as opened:
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
                    out.print("expected one of n b r g l p q")
                    continue
            except UserError as error:
                out.print(Text(str(error), style="red"))
                continue
            if at == before and word != "r":
                out.print(
                    "that was the last one"
                    if word == "n"
                    else "that is the first one"
                    if word == "b"
                    else "it is the one shown"
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
