"""The labels that a layer reads: of every neighbour the row that is shown (`shown_label.py`), looked up once.

The passes run in layer order: outputs late to early, inputs early to late. A neighbour that is labelable must have its row,
labeled or not, before a layer that shows it is labeled; otherwise a label would depend on what happened to be there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from neuron_atlas.core.labeling.evidence.evidence_record import SeenLabel, TokenWeight, polar_name
from neuron_atlas.core.labeling.evidence.label_rows import LabelRow, label_ref, rows_of
from neuron_atlas.core.labeling.evidence.shown_label import best_labels
from neuron_atlas.core.records import SIDES, Side, Tables
from neuron_atlas.errors import Incomplete


@dataclass(frozen=True, slots=True)
class NeighbourLabel:
    """One neighbour's row as read: its ref (see `label_rows.py`), and its label if it has one."""

    ref: str
    label: SeenLabel | None


class NeighbourLabels:
    """The rows shown, by side and name (`L18/N6721+`)."""

    def __init__(self, labels: Tables) -> None:
        self._rows: Mapping[Side, Mapping[str, LabelRow]] = {side: _best_rows(labels, side) for side in SIDES}
        self._read: dict[tuple[Side, str], NeighbourLabel] = {}

    def read(self, side: Side, name: str) -> NeighbourLabel | None:
        """The neighbour's row of one side; None when it has none."""
        row = self._rows[side].get(name)
        if row is None:
            return None
        if (side, name) not in self._read:
            ref = label_ref(row)
            self._read[side, name] = NeighbourLabel(ref, _seen(side, row, ref))
        return self._read[side, name]

    def require(self, names: Iterable[str], labelable: frozenset[str], sides: Sequence[Side], *, reader: str) -> None:
        """Raise `Incomplete` unless every named neuron that is `labelable` has its rows; `reader` names what reads them."""
        needed = set(names) & labelable
        for side in sides:
            missing = sorted(needed - set(self._rows[side]), key=_by_number)
            if missing:
                layers = ", ".join(f"L{layer:02d}" for layer in sorted({_by_number(name)[0] for name in missing}))
                raise Incomplete(
                    f"{reader} reads the {side} labels of {len(missing)} neurons that have none yet (first: {missing[0]}); "
                    f"run {side}_labels for layer {layers} first."
                )


def _best_rows(labels: Tables, side: Side) -> dict[str, LabelRow]:
    if f"{side}_labels" not in labels:
        return {}
    rows = rows_of(best_labels(labels[f"{side}_labels"].collect()))
    return {polar_name(row["layer"], row["neuron"], row["polarity"]): row for row in rows}


def _seen(side: Side, row: LabelRow, ref: str) -> SeenLabel | None:
    if row["label"] is None:
        return None
    pairs = zip(row["tokens"], row["token_ids"], strict=True)
    tokens = tuple(TokenWeight(token_id=i, text=text, weight=1.0) for text, i in pairs)
    return SeenLabel(side=side, text=row["label"], tokens=tokens, direction=1 if row["direction"] > 0 else -1, ref=ref)


def _by_number(name: str) -> tuple[int, int, str]:
    layer, neuron = name[1:-1].split("/N")
    return int(layer), int(neuron), name[-1]
