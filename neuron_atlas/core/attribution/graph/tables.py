"""Graphs as the tables of asset `raw_graphs`: a stored graph is the rows of its prompt."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import TypeAlias

import polars as pl

from neuron_atlas.core.records import AttributionGraph, Frames, Quarantined, TraceOptions
from neuron_atlas.core.tables import EDGES, GRAPHS, NODES, TARGETS, Table, tables_of

GraphRow: TypeAlias = dict[str, object]


def graph_row(
    item: AttributionGraph | Quarantined,
    *,
    prompt_set: str,
    kind: str,
    code_version: str,
    model_revision: str = "",
    options: TraceOptions | None = None,
) -> GraphRow:
    """A graph's (or a quarantined prompt's) row of table `graphs`.

    `model_revision` and `options` are used where the graph itself does not say. Numbers that are not known (NaN) are missing.
    """
    row: GraphRow = {
        "prompt_id": item.prompt.prompt_id,
        "prompt_set": prompt_set,
        "kind": kind,
        "text": item.prompt.text.encode(errors="replace").decode(),  # a quarantined prompt may hold lone surrogates
        "tags": json.dumps(dict(item.prompt.tags), sort_keys=True),
        "model_revision": model_revision,
        "options": options_text(options),
        "code_version": code_version,
    }
    if isinstance(item, Quarantined):
        return row | {"reason": item.reason}
    summary = item.summary
    return row | {
        "token_ids": list(summary.token_ids),
        "tokens": list(summary.tokens),
        "position": summary.position,
        "goal": summary.goal,
        "goal_value": _known(summary.goal_value),
        "rules": summary.rules,
        "dtype": summary.dtype,
        "n_nodes": item.nodes.height,
        "n_edges": item.edges.height,
        "is_trimmed": summary.is_trimmed,
        "completeness": _known(summary.completeness),
        "replacement": _known(summary.replacement),
        "conservation_error": _known(summary.conservation_error),
        "kept_edge_share": _known(summary.kept_edge_share),
        "note": summary.note or None,
        "model_revision": summary.model_revision or model_revision,
        "options": options_text(summary.options or options),
    }


def graph_frames(
    items: Iterable[AttributionGraph | Quarantined],
    *,
    prompt_set: str,
    kind: str,
    code_version: str,
    model_revision: str = "",
    options: TraceOptions | None = None,
) -> Frames:
    """The four tables of asset `raw_graphs`. Arguments as in `graph_row`; raises `DamagedData` for a prompt that occurs twice."""
    rows: list[GraphRow] = []
    parts: dict[str, list[pl.DataFrame]] = {"targets": [], "nodes": [], "edges": []}
    for item in items:
        rows.append(
            graph_row(
                item,
                prompt_set=prompt_set,
                kind=kind,
                code_version=code_version,
                model_revision=model_revision,
                options=options,
            )
        )
        if isinstance(item, AttributionGraph):
            for table, frame in ((TARGETS, item.logits), (NODES, item.nodes), (EDGES, item.edges)):
                parts[table.name].append(_with_prompt(frame, item.prompt.prompt_id, table))
    frames = {"graphs": pl.DataFrame([{**dict.fromkeys(GRAPHS.schema), **row} for row in rows], schema=GRAPHS.schema)}
    for table in (TARGETS, NODES, EDGES):
        frames[table.name] = pl.concat([table.empty(), *parts[table.name]])
    return {table.name: table.checked(frames[table.name]) for table in tables_of("raw_graphs")}


def options_text(options: TraceOptions | None) -> str:
    """Trace options as canonical JSON; `{}` where they are not known."""
    return json.dumps({} if options is None else asdict(options), sort_keys=True)


def _with_prompt(frame: pl.DataFrame, prompt_id: str, table: Table) -> pl.DataFrame:
    return frame.with_columns(prompt_id=pl.lit(prompt_id)).select(list(table.schema))


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
