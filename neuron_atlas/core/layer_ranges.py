"""Layers as people write them, the same in every command, filter and function.

    5            layer 5; layers count from 0
    3..12        layers 3 to 12, both included
    3..          layer 3 and all after it
    ..12         all layers up to 12
    ..           all layers
    2,4..6       a list: layer 2 and layers 4 to 6
    L3..L12      the same as 3..12

`LayerRanges.parse` reads this and `str` writes it. Nothing here knows a model; `of_model` takes its number of layers. Which
partition key a layer has is in `records.py`, the option of the command line in `cli/layer_option.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self, TypeAlias

from neuron_atlas.errors import BadInput

LayerRange: TypeAlias = tuple[int | None, int | None]
"""First and last layer, both included; None where the range is open."""

LAYER_FORMS = "5, 3..12, 3.., ..12 or a list such as 2,4..6; ends included, L3..L12 is the same as 3..12"
"""The grammar in one line, for `--help` and error messages."""

_NUMBER = r"L?([0-9]{1,18})"
_SINGLE = re.compile(_NUMBER)
_RANGE = re.compile(rf"(?:{_NUMBER})?\s*\.\.\s*(?:{_NUMBER})?")


@dataclass(frozen=True, slots=True)
class LayerRanges:
    """One or more ranges of layers. A layer is in it when it is in any of the ranges."""

    ranges: tuple[LayerRange, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a text such as `3..12` or `2,4..6`. Raises `BadInput` on anything else, and on a range whose end comes first."""
        return cls(tuple(_parse_range(part.strip(), text) for part in text.split(",")))

    @classmethod
    def of(cls, layers: str | LayerRange | LayerRanges) -> LayerRanges:
        """The ranges of a text, of one pair (first, last), or themselves. Raises `BadInput` for a text that is none."""
        if isinstance(layers, LayerRanges):
            return layers
        return cls.parse(layers) if isinstance(layers, str) else cls((layers,))

    @classmethod
    def union(cls, several: Iterable[LayerRanges]) -> Self:
        """The layers that are in any of several."""
        return cls(tuple(one for ranges in several for one in ranges.ranges))

    def __contains__(self, layer: int) -> bool:
        return any((first is None or first <= layer) and (last is None or layer <= last) for first, last in self.ranges)

    def __str__(self) -> str:
        """The text that `parse` reads as the same ranges."""
        return ",".join(_range_text(first, last) for first, last in self.ranges)

    def of_model(self, n_layers: int) -> list[int]:
        """The layers of a model with `n_layers`, ascending, each once. Raises `BadInput` when the model lacks one that is named."""
        named = [layer for pair in self.ranges for layer in pair if layer is not None]
        if any(layer >= n_layers for layer in named):
            raise BadInput(
                f"layer {max(named)} of {str(self)!r} is not in the model, which has layers 0..{n_layers - 1}; "
                f"expected {LAYER_FORMS}"
            )
        return [layer for layer in range(n_layers) if layer in self]


def _parse_range(part: str, whole: str) -> LayerRange:
    if single := _SINGLE.fullmatch(part):
        return int(single[1]), int(single[1])
    match = _RANGE.fullmatch(part)
    if match is None:
        dash = re.fullmatch(r"L?(\d+)-L?(\d+)", part)
        hint = f". Write {dash[1]}..{dash[2]} for a range" if dash else ""
        raise BadInput(f"{whole!r} names no layers; expected {LAYER_FORMS}{hint}")
    first, last = (None if number is None else int(number) for number in match.groups())
    if first is not None and last is not None and first > last:
        raise BadInput(f"the layers {part!r} are an empty range; expected the smaller layer first: {last}..{first}")
    return first, last


def _range_text(first: int | None, last: int | None) -> str:
    start, end = ("" if layer is None else str(layer) for layer in (first, last))
    return start if start and start == end else f"{start}..{end}"
