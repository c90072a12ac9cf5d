"""How nodes are written in attribution-graph JSON.

    node        node_id                         layer             feature
    neuron      {layer}_{neuron}_{position}     "{layer}"         one integer for (layer, neuron): Cantor's pairing
    embedding   E_{token id}_{position}         "E"               position
    logit       {layers+1}_{token id}_{pos}     "{layers+1}"      token id
    error       {layer}_-1_{position}           "{layer}"         -1

Readers split a neuron's id at `_` and expect exactly three integers, so polarity never goes into an id.
"""

from __future__ import annotations

import math
import re

_ID = re.compile(r"^([A-Za-z]+|-?\d{1,9})_(-?\d{1,9})_(\d{1,9})$")


def pair(layer: int, neuron: int) -> int:
    """One integer for (layer, neuron), both from 0: Cantor's pairing. `pair(3, 77)` is 3317."""
    diagonal = layer + neuron
    return diagonal * (diagonal + 1) // 2 + neuron


def unpair(code: int) -> tuple[int, int]:
    """The (layer, neuron) of `pair`; `code` is not negative."""
    diagonal = (math.isqrt(8 * code + 1) - 1) // 2
    neuron = code - diagonal * (diagonal + 1) // 2
    return diagonal - neuron, neuron


def neuron_id(layer: int, neuron: int, position: int) -> str:
    """`3_77_1`: neuron 77 of layer 3 at position 1."""
    return f"{layer}_{neuron}_{position}"


def embedding_id(token_id: int, position: int) -> str:
    """`E_464_1`: token 464 at position 1."""
    return f"E_{token_id}_{position}"


def logit_id(n_layers: int, token_id: int, position: int) -> str:
    """`33_42_2`: the logit of token 42 at position 2 of a model with 32 layers."""
    return f"{n_layers + 1}_{token_id}_{position}"


def error_id(layer: int, position: int) -> str:
    """`2_-1_1`: what is not among the nodes, at layer 2 and position 1."""
    return f"{layer}_-1_{position}"


def split_id(node_id: str) -> tuple[str, int, int] | None:
    """The three parts of an id (the first as text: `E`, `L` or a number), or None where it has another form."""
    match = _ID.match(node_id)
    return None if match is None else (match[1], int(match[2]), int(match[3]))
