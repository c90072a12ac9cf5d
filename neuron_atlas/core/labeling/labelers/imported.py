"""Imported labels: one text about one neuron, whatever file or database it comes from, and how it becomes a `Label`.

Imported texts are longer and rougher than our labels: the text is cut to a label at a word, and kept whole as the description.
What may not stand in a label (links, control characters) is refused with the reason, never repaired.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from neuron_atlas.core.labeling.evidence.labeler_answer import (
    INPUT_TYPES,
    MAX_DESCRIPTION,
    MAX_LABEL,
    MAX_LABEL_WORDS,
    MIN_LABEL_WORDS,
    OUTPUT_TYPES,
    InputType,
    Label,
    OutputType,
)
from neuron_atlas.core.records import NeuronId, Side
from neuron_atlas.errors import BadInput

Origin = Literal["transluce", "neuronpedia", "goodfire", "labels-json", "atlas"]
"""Where a label comes from: a Transluce NeuronDB, a Neuronpedia export, Goodfire-like JSONL, a label database in JSON (the
interactive labeler's), another atlas."""
ELLIPSIS = "…"
_TYPES: dict[Side, dict[str, OutputType | InputType]] = {
    "output": {name: name for name in OUTPUT_TYPES},
    "input": {name: name for name in INPUT_TYPES},
}


@dataclass(frozen=True, slots=True)
class ImportedLabel:
    """One text about one neuron and one polarity (+1 or -1; a source without polarities means +1).

    `side` is what the text explains: exemplar-based descriptions (Transluce, Neuronpedia, Goodfire) say what makes a neuron
    fire, so they are `input`. `description` is the longer text where there are two. `type` is one of ours where it is known.
    `confidence` is the author's own, 0..1. `author` names the model, person or version that wrote it, `origin` the kind of source.
    """

    neuron: NeuronId
    polarity: Literal[1, -1]
    side: Side
    text: str
    origin: Origin
    author: str = ""
    description: str = ""
    type: str = "unknown"
    confidence: float | None = None


def as_label(imported: ImportedLabel) -> Label:
    """The `Label` of an imported text.

    Raises `BadInput` for a text that may not stand in a label (empty, a link, control characters).
    """
    text = " ".join(imported.text.split())
    longer = " ".join(imported.description.split()) or text
    try:
        return Label(
            label=_shortened(_two_words(text, imported.side), MAX_LABEL, MAX_LABEL_WORDS),
            description=_shortened(longer, MAX_DESCRIPTION),
            type=_TYPES[imported.side].get(imported.type, "unknown"),
            confidence=min(1.0, max(0.0, imported.confidence or 0.0)),
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise BadInput(
            f"the {imported.origin} label of {imported.neuron} cannot be taken over: {first['msg']}; it begins {text[:40]!r}"
        ) from None


def _two_words(text: str, side: Side) -> str:
    """A label needs two words; a single one says what it is about."""
    return text if len(text.split()) >= MIN_LABEL_WORDS else f"{'promotes' if side == 'output' else 'fires on'} {text}"


def _shortened(text: str, most: int, words: int | None = None) -> str:
    """The text, or as many of its first words as fit, with an ellipsis."""
    parts = text.split()
    kept = parts if words is None else parts[:words]
    while len(" ".join(kept)) > most - 1 and len(kept) > 1:
        kept = kept[:-1]
    whole = " ".join(kept)[:most]
    return whole if len(kept) == len(parts) else whole.rstrip(",;:.")[: most - 1] + ELLIPSIS
