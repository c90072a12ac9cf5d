"""Tiny graphs written by hand, and a model small enough to answer in the head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import polars as pl
import pytest

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
