"""Writing and reading back is the identity, in both forms, for every graph that our tables can hold."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from neuron_atlas.core.attribution.exchange.neuronpedia import to_neuronpedia
from neuron_atlas.core.attribution.exchange.node_ids import pair, unpair
from neuron_atlas.core.attribution.exchange.older_viewer import to_legacy
from neuron_atlas.core.attribution.exchange.reading.checks import check_graph_json, same_graph
from neuron_atlas.core.attribution.exchange.reading.parsing import parse_document
from neuron_atlas.core.attribution.exchange.reading.read_document import read_document
from neuron_atlas.core.attribution.exchange.slugs import SLUG, default_slug, scan_name
from neuron_atlas.core.attribution.graph.tables import graph_frames
from neuron_atlas.core.records import Arrangement, AttributionGraph, GraphSummary, Prompt, TraceOptions
from neuron_atlas.core.tables import EDGES, NODES, TARGETS, Table

NUMBERS = st.floats(-(2.0**100), 2.0**100, width=32)
SHARES = st.floats(0, 1, width=32)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
UNKNOWN = st.just(math.nan)


def _frame(table: Table, rows: list[tuple[object, ...]]) -> pl.DataFrame:
    schema = {name: dtype for name, dtype in table.schema.items() if name != "prompt_id"}
    return pl.DataFrame(rows, schema=schema, orient="row")


@st.composite
def graphs(draw: st.DrawFn) -> AttributionGraph:
    """Any graph whose frames keep the order that table `nodes` states."""
    n_layers, n_tokens = draw(st.integers(1, 40)), draw(st.integers(1, 5))
    position = draw(st.integers(0, n_tokens - 1))
    place = st.tuples(st.integers(0, n_layers - 1), st.integers(0, position), st.integers(0, 200_000))
    neurons = sorted(draw(st.sets(place, max_size=6)))
    answers = draw(st.lists(st.integers(0, 300_000), min_size=1, max_size=3, unique=True))
    token_ids = draw(st.lists(st.integers(0, 300_000), min_size=n_tokens, max_size=n_tokens))

    def values(activation: float | None = None) -> tuple[float, ...]:
        v = draw(NUMBERS) if activation is None else activation
        return (v, draw(NUMBERS), draw(NUMBERS), draw(SHARES), draw(NUMBERS), draw(NUMBERS))

    rows: list[tuple[object, ...]] = []
    for at, token in enumerate(token_ids):
        rows.append((len(rows), "embedding", -1, at, None, token, *values(1.0)))
    for layer, at, neuron in neurons:
        rows.append((len(rows), "neuron", layer, at, neuron, None, *values()))
    targets: list[tuple[object, ...]] = []
    for token in answers:
        targets.append((len(rows), token, draw(TEXTS), draw(NUMBERS), draw(SHARES), draw(st.sampled_from([1.0, -1.0]))))
        rows.append((len(rows), "logit", n_layers, position, None, token, *values()))
    below = [r for r in rows if r[1] != "logit"]
    above = [r for r in rows if r[1] != "embedding"]
    possible = [(s[0], t[0]) for t in above for s in below if s[2] < t[2] and s[3] <= t[3]]
    chosen = draw(st.lists(st.sampled_from(possible), unique=True, max_size=8)) if possible else []
    edges = [(s, t, draw(NUMBERS)) for s, t in sorted(chosen, key=lambda edge: (edge[1], edge[0]))]
    score = st.one_of(SHARES, UNKNOWN)
    summary = GraphSummary(
        token_ids=tuple(token_ids),
        tokens=tuple(draw(TEXTS) for _ in token_ids),
        position=position,
        goal=draw(st.sampled_from(["top_k", "tokens", "contrast"])),
        goal_value=draw(st.floats(allow_nan=False, allow_infinity=False)),
        rules="relp/1",
        dtype="float32",
        is_trimmed=draw(st.booleans()),
        completeness=draw(score),
        replacement=draw(score),
        conservation_error=draw(score),
        kept_edge_share=draw(score),
        note=draw(TEXTS),
        model_id=draw(TEXTS),
        model_revision=draw(TEXTS),
        options=draw(st.one_of(st.none(), st.just(TraceOptions(k=2, mass=0.5)))),
    )
    prompt = Prompt(
        text=draw(TEXTS),
        answer_prefix=draw(st.one_of(st.none(), TEXTS)),
        target_tokens=tuple(draw(st.lists(TEXTS, max_size=2))),
        contrast=draw(st.one_of(st.none(), st.tuples(TEXTS, TEXTS))),
        position=draw(st.integers(-3, 3)),
        raw=draw(st.booleans()),
        tags=draw(st.dictionaries(TEXTS, TEXTS, max_size=2)),
    )
    some = st.lists(st.integers(0, len(rows) - 1), unique=True, min_size=1, max_size=3).map(tuple)
    arrangement = Arrangement(draw(st.just(()) | some), tuple(draw(st.lists(st.tuples(TEXTS, some), max_size=2))))
    frames = (_frame(NODES, rows), _frame(EDGES, edges), _frame(TARGETS, targets))
    return AttributionGraph(prompt, *frames, summary, arrangement)


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_writing_and_reading_is_the_identity_and_every_document_passes_every_level(graph: AttributionGraph) -> None:
    data = json.dumps(to_neuronpedia(graph), allow_nan=False).encode()
    assert same_graph(graph, read_document(parse_document(data)))
    assert check_graph_json(data).faults == ()


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_the_older_form_loses_nothing_either(graph: AttributionGraph) -> None:
    data = json.dumps(to_legacy(graph), allow_nan=False).encode()
    assert same_graph(graph, read_document(parse_document(data)))


@settings(max_examples=30, deadline=None)
@given(graphs())
def test_tables_hold_the_same_graph(graph: AttributionGraph) -> None:
    frames = graph_frames([graph], prompt_set="some", kind="domain", code_version="1")
    stored = {name: frame.filter(prompt_id=graph.prompt.prompt_id).drop("prompt_id") for name, frame in frames.items()}
    for frame, name in ((graph.nodes, "nodes"), (graph.edges, "edges"), (graph.logits, "targets")):
        assert frame.equals(stored[name])
    row = stored["graphs"].row(0, named=True)
    assert tuple(row["token_ids"]) == graph.summary.token_ids
    options = {} if graph.summary.options is None else asdict(graph.summary.options)
    assert json.loads(row["options"]) == json.loads(json.dumps(options))


@given(st.integers(0, 10_000), st.integers(0, 2**31 - 1))
def test_cantor_pairing_is_undone(layer: int, neuron: int) -> None:
    assert unpair(pair(layer, neuron)) == (layer, neuron)


@given(TEXTS, TEXTS)
@example("0..0", "_")
def test_default_slugs_are_safe_and_differ_for_different_prompts(one: str, other: str) -> None:
    first, second = default_slug(Prompt(one)), default_slug(Prompt(other))
    assert SLUG.fullmatch(first)
    assert SLUG.fullmatch(scan_name(one))
    assert first != second or one.lower() == other.lower()


@pytest.mark.parametrize(
    ("prompt", "slug"),
    [
        (Prompt("The enzyme inhibited by aspirin is"), "relp-the-enzyme-inhibited-by-aspirin-is"),
        (
            Prompt("The enzyme inhibited by aspirin is", target_tokens=("COX",)),
            "relp-the-enzyme-inhibited-by-aspirin-is-",
        ),
        (Prompt("Москва"), "relp-"),
        (Prompt("Crème brûlée"), "relp-creme-brulee-"),
        (Prompt("What is 2 + 2?"), "relp-what-is-2-2-"),
    ],
)
def test_slugs_read_like_the_prompt(prompt: Prompt, slug: str) -> None:
    made = default_slug(prompt)
    assert made == (slug + prompt.prompt_id[:8] if slug.endswith("-") else slug)
