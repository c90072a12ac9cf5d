"""Graphs written by hand and a model whose answers can be predicted by eye."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import polars as pl
import pytest

from neuron_atlas.core.records import AttributionGraph, Edit, GraphSummary, ModelSpec, NeuronId, Prompt
from neuron_atlas.core.tables import EDGES, NODES, TARGETS

Link: TypeAlias = tuple[str, str, float]
N_LAYERS = 4


def graph_of(
    tokens: Sequence[str],
    links: Iterable[Link],
    *,
    relevance: Mapping[str, float] | None = None,
    answers: Mapping[str, float] | None = None,
) -> AttributionGraph:
    """A graph of links `(source, target, weight)` between `L0/N3@2` (a neuron at a position), `@1` (an embedding) and
    `=yes` (an answer). Every value v is 1 and every relevance 1 unless said otherwise, so flow = weight * relevance of the
    target. `answers`: goal weight by token. Token ids are the tokens' places."""
    links = list(links)
    answers = answers or {"yes": 1.0}
    names = sorted({end for source, target, _ in links for end in (source, target) if end[0] == "L"}, key=_place)
    nodes = [*(f"@{position}" for position in range(len(tokens))), *names, *(f"={token}" for token in answers)]
    rows = []
    for node, name in enumerate(nodes):
        kind = {"@": "embedding", "=": "logit"}.get(name[0], "neuron")
        layer, position, neuron = (
            _place(name) if kind == "neuron" else (-1, int(name[1:]) if name[0] == "@" else 0, None)
        )
        rows.append(
            {
                "node": node, "kind": kind, "layer": N_LAYERS if kind == "logit" else layer, "neuron": neuron,
                "position": len(tokens) - 1 if kind == "logit" else position,
                "token_id": None if kind == "neuron" else position, "activation": 1.0,
                "relevance": (relevance or {}).get(name, 1.0), "direct": 0.0, "influence": 0.0, "bias": 0.0, "error": 0.0,
            }
        )  # fmt: skip
    ids = {name: node for node, name in enumerate(nodes)}
    edges = [{"source": ids[s], "target": ids[t], "weight": w} for s, t, w in links]
    logits = [
        {"node": ids[f"={t}"], "token_id": 100 + i, "token": t, "logit": 1.0, "probability": 0.5, "goal_weight": w}
        for i, (t, w) in enumerate(answers.items())
    ]
    schema = {
        table.name: {k: v for k, v in table.schema.items() if k != "prompt_id"} for table in (NODES, EDGES, TARGETS)
    }
    summary = GraphSummary(
        tuple(range(len(tokens))),
        tuple(tokens),
        len(tokens) - 1,
        "tokens",
        1.0,
        "relp/1",
        "float32",
        False,
        1.0,
        1.0,
        0.0,
        1.0,
    )
    return AttributionGraph(
        Prompt("".join(tokens)),
        pl.DataFrame(rows, schema=schema["nodes"]),
        pl.DataFrame(edges, schema=schema["edges"]).sort("target", "source"),
        pl.DataFrame(logits, schema=schema["targets"]),
        summary,
    )


def _place(name: str) -> tuple[int, int, int]:
    """(layer, position, neuron) of `L0/N3@2`."""
    neuron, _, position = name.partition("@")
    found = NeuronId.parse(neuron)
    return found.layer, int(position), found.neuron


class TableModel:
    """Two layers of 6 neurons and 8 tokens. At a position the activation of every neuron is `table[token]` [L, I], and neuron i of
    either layer adds its activation at the last position to token i's logit."""

    spec = ModelSpec("table", "0" * 64, "none", 2, 6, 4, 8, "float32")
    special_ids = frozenset({0})

    def __init__(self, table: Mapping[int, np.ndarray]) -> None:
        self.table = table

    def token_text(self, token_id: int) -> str:
        return f" t{token_id}"

    def activations(self, token_ids: Sequence[Sequence[int]]) -> Iterable[np.ndarray]:
        zero = np.zeros((2, 6), np.float32)
        return [
            np.stack([self.table.get(token, zero) for token in ids], axis=1).astype(np.float32) for ids in token_ids
        ]

    def logits(
        self, token_ids: Sequence[int], *, edits: Sequence[Sequence[Edit]] = ((),), position: int = -1
    ) -> np.ndarray:
        rows = np.zeros((len(edits), 8), np.float32)
        for row, changes in zip(rows, edits, strict=True):
            (now,) = self.activations([token_ids])
            for edit in changes:
                at = slice(None) if edit.position is None else edit.position
                old = now[edit.layer, at, edit.neuron]
                new = {"set": edit.value, "add": old + edit.value, "scale": old * edit.value}[edit.how]
                now[edit.layer, at, edit.neuron] = new
            row[:6] = now[:, position].sum(axis=0)
        return rows


@pytest.fixture
def written() -> Callable[..., AttributionGraph]:
    return graph_of


@pytest.fixture
def table_model() -> Callable[..., TableModel]:
    return TableModel


@pytest.fixture
def two_jobs(written: Callable[..., AttributionGraph]) -> AttributionGraph:
    """Two jobs on one prompt: N0, N1, N2 of layer 0 read " cat" and tell layer 2; N3, N4, N5 read " sat" and tell layer 3. All of
    layer 2 and 3 tell the answer; N9 stands at the special token and N8 alone."""
    tokens = ["<bos>", " cat", " sat", "."]
    links: list[Link] = []
    for early in range(3):
        links.append(("@1", f"L0/N{early}@1", 1.0))
        links += [(f"L0/N{early}@1", f"L2/N{late}@3", 1.0) for late in range(3)]
    for early in range(3, 6):
        links.append(("@2", f"L0/N{early}@2", 1.0))
        links += [(f"L0/N{early}@2", f"L3/N{late}@3", 1.0) for late in range(3)]
    links += [(f"L{layer}/N{late}@3", "=yes", 0.5) for layer in (2, 3) for late in range(3)]
    links += [("@0", "L0/N9@0", 1.0), ("L0/N9@0", "=yes", 0.1), ("@3", "L1/N8@3", 1.0)]
    return written(tokens, links)
