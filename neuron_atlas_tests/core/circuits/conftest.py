"""Flow graphs written by hand: wires between neurons, as the rows of `edge_stats` they would leave."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import polars as pl
import pytest

from neuron_atlas.core.records import NeuronId
from neuron_atlas.core.tables import EDGE_STATS

Wire: TypeAlias = tuple[str, str, float] | tuple[str, str, float, int]
Wiring: TypeAlias = Callable[[Iterable[Wire]], dict[str, pl.LazyFrame]]


def _end(text: str, side: str) -> tuple[str, int, int]:
    """`L1/N2` is a neuron, `token 5` an embedding or logit."""
    if text.startswith("token"):
        return ("embedding", -1, int(text[6:])) if side == "source" else ("logit", 9, int(text[6:]))
    found = NeuronId.parse(text)
    return "neuron", found.layer, found.neuron


def edge_stats_of(wires: Iterable[Wire]) -> dict[str, pl.LazyFrame]:
    """Table edge_stats of (source, target, weight, prompts): one instance a prompt, always the same weight, flow = weight."""
    rows = []
    for source, target, weight, *prompts in wires:
        source_kind, source_layer, source_number = _end(source, "source")
        target_kind, target_layer, target_number = _end(target, "target")
        n = prompts[0] if prompts else 10
        rows.append(
            {
                "source_kind": source_kind, "source_layer": source_layer, "source": source_number,
                "target_kind": target_kind, "target_layer": target_layer, "target": target_number,
                "n": n, "n_prompts": n, "frequency": 1.0, "weight_mean": weight, "weight_abs_mean": abs(weight),
                "weight_std": 0.0, "weight_min": weight, "weight_max": weight, "sign_agreement": 1.0,
                "flow_mean": weight, "flow_abs_mean": abs(weight),
            }
        )  # fmt: skip
    frame = pl.DataFrame(rows, schema=EDGE_STATS.schema) if rows else EDGE_STATS.empty()
    return {"edge_stats": EDGE_STATS.checked(frame).lazy()}


def clique(neurons: Sequence[str], weight: float = 1.0) -> list[Wire]:
    """Every pair of neurons wired once, from the earlier in the list to the later."""
    return [(a, b, weight) for i, a in enumerate(neurons) for b in neurons[i + 1 :]]


@pytest.fixture
def wired() -> Wiring:
    return edge_stats_of


@pytest.fixture
def two_cliques() -> list[Wire]:
    """Two cliques of four neurons each (the first with even, the second with odd numbers), joined by one wire."""
    even = ["L0/N0", "L0/N2", "L1/N0", "L1/N2"]
    odd = ["L0/N1", "L0/N3", "L1/N1", "L1/N3"]
    return [*clique(even), *clique(odd), ("L0/N0", "L1/N3", 0.5)]


@pytest.fixture
def cliques() -> Callable[..., list[Wire]]:
    return clique


@pytest.fixture
def nested() -> list[Wire]:
    """A hierarchy: in each of four layers four cliques of five, loosely joined (0.1); the layers hardly (0.001)."""
    wires: list[Wire] = []
    for group in range(4):
        units = [[f"L{group}/N{10 * unit + i}" for i in range(5)] for unit in range(4)]
        wires += [wire for unit in units for wire in clique(unit)]
        wires += [(units[a][i], units[b][i], 0.1) for a in range(4) for b in range(a + 1, 4) for i in range(5)]
        wires += [(f"L{group}/N{i}", f"L{later}/N{i}", 0.001) for later in range(group + 1, 4) for i in range(5)]
    return wires
