"""Which position of one prompt corresponds to which of another, so that their neuron instances can be compared.

    position   the same place, counted from the start
    end        the same place, counted from the end (answers are read there)
    token      the places of equal tokens, in order; a stretch of tokens replaced by one of equal length keeps its places

A position may have no counterpart; its instances are in one graph only.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Literal, TypeAlias, get_args

from neuron_atlas.errors import BadInput

Alignment: TypeAlias = Literal["position", "end", "token"]


def aligned_positions(a: Sequence[str], b: Sequence[str], *, by: Alignment) -> dict[int, int]:
    """Positions of `b` by the corresponding positions of `a`; `a` and `b` are the tokens. Raises `BadInput` for an unknown
    alignment."""
    if by not in get_args(Alignment):
        raise BadInput(f"unknown alignment {by!r}; expected one of {', '.join(get_args(Alignment))}")
    if by == "position":
        return {at: at for at in range(min(len(a), len(b)))}
    if by == "end":
        shift = len(b) - len(a)
        return {at: at + shift for at in range(len(a)) if at + shift >= 0}
    blocks = SequenceMatcher(None, list(a), list(b), autojunk=False).get_opcodes()
    return {
        start + step: other + step
        for kind, start, stop, other, other_stop in blocks
        if kind == "equal" or (kind == "replace" and stop - start == other_stop - other)
        for step in range(stop - start)
    }
