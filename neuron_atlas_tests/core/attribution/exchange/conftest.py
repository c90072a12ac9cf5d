"""One graph worked by hand: three tokens, two layers, two neurons, one logit.

    <bos>   the --1.5--> L0/N3@1 (v = 2) ---1.0--> L1/N7@2 (v = -1.5) --3.0--> " sat" (v = 4)
    cat --(-0.25)--> L1/N7@2,   cat --0.5--> " sat"

What is not kept: L0/N3: bias 0.25, error 0.25 (1.5 + 0.25 + 0.25 = 2). L1/N7: error -0.25 (-1 - 0.25 - 0.25 = -1.5).
Logit: error 0.5 (3 + 0.5 + 0.5 = 4).

Relevance, slope = R / v: logit 4 (slope 1); L1/N7: 3.0 (slope -2); L0/N3: -1.0 · -2 = 2 (slope 1); the: 1.5 · 1;
cat: 0.5 + (-0.25)(-2) = 1. Direct: L1/N7 3, cat 0.5.

Influence: logit 1 -> L1/N7 3/4, cat 1/8, error 1/8. L1/N7 hands on (1 : 1/4 : 1/4)/1.5 of its 3/4 -> L0/N3 1/2, cat 1/8,
error 1/8. L0/N3 hands on 3/4 : 1/8 : 1/8 of its 1/2 -> the 3/8, bias 1/16, error 1/16.
Reach: 3/4, 1/2, 3/8 (the), 1/4 (cat), 0; together 15/8; cumulated 6/15, 10/15, 13/15, 1, 1.
Embeddings 5/8, errors 5/16: replacement 2/3. Completeness 1 - (5/16) / (1 + 3/4 + 1/2) = 31/36.
"""

from __future__ import annotations

import polars as pl
import pytest

from neuron_atlas.core.records import AttributionGraph, GraphSummary, Prompt, TraceOptions
from neuron_atlas.core.tables import EDGES, NODES, TARGETS, Table


def frame(table: Table, rows: list[tuple[object, ...]]) -> pl.DataFrame:
    schema = {name: dtype for name, dtype in table.schema.items() if name != "prompt_id"}
    return pl.DataFrame(rows, schema=schema, orient="row")


def cat_graph() -> AttributionGraph:
    nodes = frame(
        NODES,
        [
            (0, "embedding", -1, 0, None, 1, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0),
            (1, "embedding", -1, 1, None, 5, 1.0, 1.5, 0.0, 13 / 15, 0.0, 0.0),
            (2, "embedding", -1, 2, None, 9, 1.0, 1.0, 0.5, 1.0, 0.0, 0.0),
            (3, "neuron", 0, 1, 3, None, 2.0, 2.0, 0.0, 10 / 15, 0.25, 0.25),
            (4, "neuron", 1, 2, 7, None, -1.5, 3.0, 3.0, 6 / 15, 0.0, -0.25),
            (5, "logit", 2, 2, None, 42, 4.0, 4.0, 4.0, 0.0, 0.0, 0.5),
        ],
    )
    edges = frame(EDGES, [(1, 3, 1.5), (2, 4, -0.25), (3, 4, -1.0), (2, 5, 0.5), (4, 5, 3.0)])
    logits = frame(TARGETS, [(5, 42, " sat", 4.0, 0.75, 1.0)])
    summary = GraphSummary(
        token_ids=(1, 5, 9),
        tokens=("<bos>", " the", " cat"),
        position=2,
        goal="tokens",
        goal_value=4.0,
        rules="relp/1",
        dtype="float32",
        is_trimmed=False,
        completeness=31 / 36,
        replacement=2 / 3,
        conservation_error=0.0,
        kept_edge_share=0.9,
        note="answer 'sat' traced as ' sat'",
        model_id="some/Tiny-Model",
        model_revision="ab" * 32,
        options=TraceOptions(k=3),
    )
    prompt = Prompt("the cat", target_tokens=("sat",), raw=True, tags={"source": "hand"})
    return AttributionGraph(prompt, nodes, edges, logits, summary)


@pytest.fixture
def cat() -> AttributionGraph:
    return cat_graph()
