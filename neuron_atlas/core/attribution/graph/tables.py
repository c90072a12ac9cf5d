"""Graphs as the tables of asset `raw_graphs`, and back: how a notebook's graph and a stored one are the same thing."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import TypeAlias

import polars as pl

from neuron_atlas.core.records import AttributionGraph, Frames, GraphSummary, Prompt, Quarantined, Tables, TraceOptions
from neuron_atlas.core.tables import EDGES, GRAPHS, NODES, TARGETS, Table, tables_of
from neuron_atlas.errors import UnknownName

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

    `model_revision` and `options` stand in where the graph itself does not say. Numbers that are not known (NaN) are missing.
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
    """The four tables of asset `raw_graphs`. Arguments as in `graph_row`; raises `DamagedData` for a prompt that stands twice."""
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


def graph_of_tables(raw: Tables, prompt_id: str, *, prompt: Prompt | None = None) -> AttributionGraph:
    """One stored graph. `raw` are the tables of asset `raw_graphs`.

    The tables hold a prompt's text and tags but not how its answers were named; give `prompt` where that matters.
    Raises `UnknownName` for a prompt that is not there or was quarantined.
    """
    graphs = raw["graphs"].filter(pl.col("prompt_id") == prompt_id, pl.col("reason").is_null()).collect()
    if graphs.is_empty():
        known = raw["graphs"].filter(pl.col("reason").is_null()).select("prompt_id").collect()["prompt_id"].to_list()
        raise UnknownName("traced prompt", prompt_id, known)
    row = graphs.row(0, named=True)
    frames = {
        name: raw[name].filter(pl.col("prompt_id") == prompt_id).drop("prompt_id").collect()
        for name in ("nodes", "edges", "targets")
    }
    summary = GraphSummary(
        token_ids=tuple(row["token_ids"]),
        tokens=tuple(row["tokens"]),
        position=row["position"],
        goal=row["goal"],
        goal_value=_or_nan(row["goal_value"]),
        rules=row["rules"],
        dtype=row["dtype"],
        is_trimmed=row["is_trimmed"],
        completeness=_or_nan(row["completeness"]),
        replacement=_or_nan(row["replacement"]),
        conservation_error=_or_nan(row["conservation_error"]),
        kept_edge_share=_or_nan(row["kept_edge_share"]),
        note=row["note"] or "",
        model_revision=row["model_revision"],
        options=_options_of(row["options"]),
    )
    found = prompt if prompt is not None else Prompt(row["text"], tags=json.loads(row["tags"]))
    return AttributionGraph(found, frames["nodes"], frames["edges"], frames["targets"], summary)


def options_text(options: TraceOptions | None) -> str:
    """Trace options as canonical JSON; `{}` where they are not known."""
    return json.dumps({} if options is None else asdict(options), sort_keys=True)


def _options_of(text: str) -> TraceOptions | None:
    stored = json.loads(text)
    exclude = tuple(stored.pop("exclude", ()))
    return TraceOptions(**stored, exclude=exclude) if stored else None


def _with_prompt(frame: pl.DataFrame, prompt_id: str, table: Table) -> pl.DataFrame:
    return frame.with_columns(prompt_id=pl.lit(prompt_id)).select(list(table.schema))


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
