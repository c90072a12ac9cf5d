"""Tiny graphs written by hand, and a model small enough to answer in the head."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pytest

from neuron_atlas.core.ports import MlpWeights, VocabWeights
from neuron_atlas.core.records import Edit, ModelSpec, Prompt
from neuron_atlas.core.tables import ASSETS

N_LAYERS = 2


@dataclass
class TinyGraph:
    """One prompt: tokens; neurons as (layer, position, neuron, activation, relevance, direct); logits as
    (token, logit, goal weight); edges between names: "e<position>", "n<row>", "l<row>"."""

    prompt_id: str
    token_ids: list[int]
    neurons: list[tuple[int, int, int, float, float, float]]
    logits: list[tuple[int, float, float]] = field(default_factory=lambda: [(9, 2.0, 1.0)])
    edges: list[tuple[str, str, float]] = field(default_factory=list)
    reason: str | None = None


def raw_graphs(
    graphs: Sequence[TinyGraph], *, prompt_set: str = "tiny", kind: str = "domain"
) -> dict[str, pl.LazyFrame]:
    """The four tables of asset raw_graphs; columns that aggregation does not read get placeholders of the right type."""
    rows: dict[str, list[dict[str, object]]] = {"graphs": [], "targets": [], "nodes": [], "edges": []}
    for g in graphs:
        traced = g.reason is None
        node = {"influence": 0.0, "bias": 0.0, "error": 0.0, "prompt_id": g.prompt_id}
        embeddings = [
            {"kind": "embedding", "layer": -1, "position": p, "neuron": None, "token_id": t, "activation": 1.0, "relevance": 0.0,
             "direct": 0.0} for p, t in enumerate(g.token_ids)
        ]  # fmt: skip
        neurons = [
            {"kind": "neuron", "layer": layer, "position": p, "neuron": n, "token_id": None, "activation": a, "relevance": r,
             "direct": d} for layer, p, n, a, r, d in g.neurons
        ]  # fmt: skip
        last = len(g.token_ids) - 1
        logits = [
            {"kind": "logit", "layer": N_LAYERS, "position": last, "neuron": None, "token_id": t, "activation": z,
             "relevance": w * z, "direct": w * z} for t, z, w in g.logits
        ]  # fmt: skip
        first = {"e": 0, "n": len(embeddings), "l": len(embeddings) + len(neurons)}
        if traced:
            rows["nodes"] += [{**node, "node": i, **x} for i, x in enumerate([*embeddings, *neurons, *logits])]
        rows["targets"] += [
            {"prompt_id": g.prompt_id, "node": first["l"] + i, "token_id": t, "token": f" t{t}", "logit": z, "probability": 0.5,
             "goal_weight": w} for i, (t, z, w) in enumerate(g.logits) if traced
        ]  # fmt: skip
        rows["edges"] += [
            {
                "prompt_id": g.prompt_id,
                "source": first[s[0]] + int(s[1:]),
                "target": first[t[0]] + int(t[1:]),
                "weight": w,
            }
            for s, t, w in g.edges
        ]
        rows["graphs"].append(
            {"prompt_id": g.prompt_id, "prompt_set": prompt_set, "kind": kind, "text": "", "tags": "{}", "reason": g.reason,
             "token_ids": g.token_ids if traced else None, "n_nodes": first["l"] + len(logits), "n_edges": len(g.edges),
             "position": last, "model_revision": "", "options": "{}", "code_version": ""}
        )  # fmt: skip
    frames: dict[str, pl.LazyFrame] = {}
    for table in ASSETS["raw_graphs"]:
        schema = {c.name: c.dtype for c in table.columns}
        absent = {c.name for c in table.columns if not any(c.name in r for r in rows[table.name])}
        frame = pl.DataFrame(rows[table.name], schema={k: v for k, v in schema.items() if k not in absent})
        frame = frame.with_columns(pl.lit(None, dtype=schema[name]).alias(name) for name in sorted(absent))
        frames[table.name] = table.checked(frame.select(list(schema))).lazy()
    return frames


@pytest.fixture
def make_raw() -> Callable[..., dict[str, pl.LazyFrame]]:
    return raw_graphs


@pytest.fixture
def graph() -> type[TinyGraph]:
    return TinyGraph


class TinyModel:
    """Two layers of two gated ReLU neurons, a stream of four coordinates, no attention: a token is its own prompt.

    Stream: 0 cat-ness, 1 dog-ness, 2 "animal", 3 "sound". The final norm only halves: its frozen scale is 1/2, always.

        L0/N0  relu(x0) * 2 x0   -> animal += a         cat: 2
        L0/N1  relu(x1) * (-x1)  -> sound -= a / 2      dog: -1
        L1/N0  relu(x2) * x2     -> sound += a / 4      cat: 2 * 2 = 4
        L1/N1  relu(x0) * x0 - never: its up weight is 0

    So cat ends with sound 1 (through L0/N0, then L1/N0), dog with sound 1/2 (straight from L0/N1); logit(meow) = sound / 2.
    """

    words = ("<s>", " cat", " dog", " the", " meow", "<0xE2>")
    embedding = np.array(
        [[9, 9, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], np.float32
    )
    unembedding = np.array(
        [[0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]], np.float32
    )
    gates = np.array([[[1, 0, 0, 0], [0, 1, 0, 0]], [[0, 0, 1, 0], [1, 0, 0, 0]]], np.float32)
    ups = np.array([[[2, 0, 0, 0], [0, -1, 0, 0]], [[0, 0, 1, 0], [0, 0, 0, 0]]], np.float32)
    downs = np.array([[[0, 0], [0, 0], [1, 0], [0, -0.5]], [[0, 0], [0, 0], [0, 0], [0.25, 0]]], np.float32)
    special_ids = frozenset({0})

    def __init__(self) -> None:
        self.spec = ModelSpec("tiny", "0" * 64, "tiny", 2, 2, 4, len(self.words), "float32")

    def token_text(self, token_id: int) -> str:
        return self.words[token_id]

    def encode(self, prompt: Prompt) -> list[int]:
        return [0, *(self.words.index(f" {word}") for word in prompt.text.split())]

    def token_id(self, text: str) -> tuple[int, bool]:
        return self.words.index(text), True

    def _run(self, token_ids: Sequence[int], edits: Sequence[Edit]) -> tuple[np.ndarray, np.ndarray]:
        """Activations [L, T, I] and final stream [T, D]."""
        x = self.embedding[list(token_ids)]
        seen: list[np.ndarray] = []
        for layer in range(2):
            a = np.maximum(x @ self.gates[layer].T, 0) * (x @ self.ups[layer].T)
            for e in edits:
                at = slice(None) if e.position is None else e.position
                if e.layer == layer:
                    a[at, e.neuron] = e.value + (a[at, e.neuron] if e.how == "add" else 0)
            seen.append(a)
            x = x + a @ self.downs[layer].T
        return np.stack(seen), x

    def activations(self, token_ids: Sequence[Sequence[int]]) -> Iterator[np.ndarray]:
        for ids in token_ids:
            yield self._run(ids, ())[0]

    def logits(
        self, token_ids: Sequence[int], *, edits: Sequence[Sequence[Edit]] = ((),), position: int = -1
    ) -> np.ndarray:
        return np.stack([0.5 * self.unembedding @ self._run(token_ids, e)[1][position] for e in edits])

    def final_stream(
        self, token_ids: Sequence[int], *, edits: Sequence[Sequence[Edit]] = ((),), position: int = -1
    ) -> np.ndarray:
        return np.stack([self._run(token_ids, e)[1][position] for e in edits])

    def frozen_scales(self, token_ids: Sequence[int], *, position: int = -1) -> np.ndarray:
        return np.array([1, 1, 0.5], np.float32)

    def mlp_weights(self, layer: int) -> MlpWeights:
        return MlpWeights(
            layer, self.gates[layer], self.ups[layer], self.downs[layer], None, None, None, None, "none", 0.0, "relu"
        )

    def vocab_weights(self) -> VocabWeights:
        return VocabWeights(self.embedding, self.unembedding, np.ones(4, np.float32), "rms")


@pytest.fixture
def tiny_model() -> TinyModel:
    return TinyModel()
