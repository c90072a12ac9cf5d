"""Searching a NeuronDB: near in meaning, conditions that never cost results, and a warning when the index cannot be trusted."""

from __future__ import annotations

import itertools
import uuid
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuron_atlas.adapters.neuron_db import (
    LabelSet,
    check_recall,
    find_label_set,
    load_labels,
    nearest,
    open_neuron_db,
    search,
)
from neuron_atlas.adapters.postgres import Connection, Server, ensure_database, start_embedded, stop_embedded
from neuron_atlas.core.publication.search.search_query import LabelConditions, Mode
from neuron_atlas.core.publication.search.search_result import SearchResult
from neuron_atlas.core.records import ModelSpec, NeuronId, Tables
from neuron_atlas.errors import BadInput, PermanentError, UnknownName
from neuron_atlas_tests.adapters.neuron_db.conftest import WordEmbedder
from neuron_atlas_tests.adapters.neuron_db.test_load import drop_index

USE_INDEX = 0
"""`exact_rows` that sends every search to the index."""


@pytest.fixture(scope="module")
def cities(server: Server, tables: Tables, model: ModelSpec) -> Server:
    """Four labeled neurons, to be read only."""
    database = ensure_database(server, "cities")
    load_labels(database, model=model, version="v1", tables=tables, embedder=WordEmbedder())
    return database


@pytest.fixture(scope="module")
def thousand(server: Server, many: Tables, model: ModelSpec) -> Server:
    """1,200 labeled neurons, to be read only."""
    database = ensure_database(server, "thousand")
    load_labels(database, model=model, version="v1", tables=many, embedder=WordEmbedder())
    return database


@pytest.fixture
def own_thousand(server: Server, thousand: Server) -> Server:
    """The same, to be damaged."""
    name = f"own_{uuid.uuid4().hex[:12]}"
    with server.connect(autocommit=True) as connection:
        connection.execute(f"create database {name} template {thousand.database} strategy file_copy")
    return server.of(name)


def ask(
    server: Server,
    query: str | None,
    *,
    mode: Mode = "meaning",
    exact_rows: int = 10_000,
    limit: int = 20,
    **filters: object,
) -> SearchResult:
    def work(connection: Connection) -> SearchResult:
        chosen = LabelConditions(**filters)  # pyright: ignore[reportArgumentType]
        return search(
            connection, label_set(connection), query, mode=mode, embedder=WordEmbedder(), filters=chosen, limit=limit,
            exact_rows=exact_rows,
        )  # fmt: skip

    return server.run(work, read_only=True)


def label_set(connection: Connection) -> LabelSet:
    return find_label_set(connection)


# ------------------------------------------------------------------------------------------------------------------- meaning
def test_texts_that_share_words_are_near(cities: Server) -> None:
    found = ask(cities, "city names")
    assert [(str(hit.id), hit.label) for hit in found.hits[:2]] == [
        ("L0/N1", "capital city names"),
        ("L1/N2", "river names"),
    ]
    # cos("city names", "capital city names") of independent unit words is near 2 / sqrt(2 * 3)
    assert found.hits[0].similarity == pytest.approx(2 / 6**0.5, abs=0.15)
    assert found.frame.columns[:3] == ["layer", "neuron", "polarity"]


def test_only_the_preferred_labeler_answers_unless_all_are_wanted(cities: Server) -> None:
    assert {hit.label for hit in ask(cities, "names").hits} == {"capital city names", "river names", "plural verbs"}
    assert "large city names" in {hit.label for hit in ask(cities, "names", only_preferred=False).hits}


def test_texts_come_back_as_they_were_loaded(cities: Server) -> None:
    assert ask(cities, "capital city names").hits[0].tokens == ["Paris", "\x00"]


def test_without_a_query_the_best_scored_come_first(cities: Server) -> None:
    found = ask(cities, None, only_preferred=False)
    assert [hit.score for hit in found.hits] == [1.0, 0.25, None, None]
    assert found.method == "listing"


# ------------------------------------------------------------------------------------------------------------------- filters
@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"layers": (1, 2)}, {"L1/N2", "L2/N3"}),
        ({"layers": (None, 0)}, {"L0/N1"}),
        ({"polarity": -1}, {"L2/N3"}),
        ({"side": "input"}, set()),
        ({"min_score": 0.25}, {"L0/N1"}),
        ({"neurons": [NeuronId(2, 3), NeuronId(9, 9)]}, {"L2/N3"}),
        ({"neurons": []}, set()),
        ({"type": "semantic", "labeler": "human"}, {"L1/N2"}),
        ({"keyword": "CITY"}, {"L0/N1"}),
        ({"keyword": "paris"}, {"L0/N1"}),  # in a token
        ({"keyword": "100%", "only_preferred": False}, {"L1/N2"}),  # plain text: % is a sign
        ({"keyword": "c_ty"}, set()),
        ({"keyword": "'; drop table neuron_db.descriptions; --"}, set()),
        ({"keyword": "\x00"}, {"L0/N1"}),
    ],
)
def test_each_filter_lets_through_what_it_says(cities: Server, filters: dict[str, object], expected: set[str]) -> None:
    for query in ("names", None):
        assert {str(hit.id) for hit in ask(cities, query, **filters).hits} == expected


FILTERS: list[dict[str, object]] = [
    {},
    {"layers": (2, 3)},
    {"polarity": -1},
    {"min_score": 0.9},
    {"keyword": "w7"},
    {"layers": (1, 1), "polarity": 1, "min_score": 0.3},
    {"neurons": [NeuronId(layer, n) for layer, n in itertools.product(range(4), range(0, 300, 7))]},
]


def test_the_index_gives_what_an_exact_scan_gives_under_every_filter(thousand: Server) -> None:
    for filters in FILTERS:
        by_index = ask(thousand, "w1 w2 w3", exact_rows=USE_INDEX, **filters)
        exact = ask(thousand, "w1 w2 w3", **filters)
        assert (by_index.method, exact.method) == ("index", "exact")
        assert by_index.warnings == exact.warnings == ()
        assert len(exact.hits) == 20
        assert by_index.hits == exact.hits, filters


def test_never_fewer_than_asked_for_when_that_many_exist(thousand: Server) -> None:
    # scores are i / 1200: the 13 from 1187 on are above 0.989; the nearest 200 of 400 texts hold about half of them
    for limit in (12, 13):
        found = ask(thousand, "w1 w2", exact_rows=USE_INDEX, limit=limit, min_score=0.989)
        assert len(found.hits) == limit
        assert (found.method, found.warnings) == (("index", ()) if limit == 12 else ("exact", ()))
    assert len(ask(thousand, "w1 w2", exact_rows=USE_INDEX, limit=100, min_score=0.989).hits) == 13


@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    layer=st.integers(0, 3), width=st.integers(0, 3), polarity=st.sampled_from([None, 1, -1]),
    min_score=st.none() | st.floats(0, 0.9375, width=32), limit=st.integers(1, 200),
)  # fmt: skip
def test_under_any_filter_the_index_gives_as_many_and_as_near_as_an_exact_scan(
    thousand: Server, layer: int, width: int, polarity: int | None, min_score: float | None, limit: int
) -> None:
    """Post-filtering an approximate index loses rows; reading on until enough have passed does not."""
    filters = {"layers": (layer, layer + width), "polarity": polarity, "min_score": min_score}
    by_index = ask(thousand, "w1 w2 w3", exact_rows=USE_INDEX, limit=limit, **filters)
    exact = ask(thousand, "w1 w2 w3", limit=limit, **filters)
    assert by_index.warnings == ()
    assert [hit.similarity for hit in by_index.hits] == pytest.approx([hit.similarity for hit in exact.hits], abs=1e-6)


def test_when_what_passes_lies_far_away_the_walk_ends_in_an_exact_scan(
    thousand: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest, "MAX_TEXTS", 200)
    found = ask(thousand, "w1 w2", exact_rows=USE_INDEX, limit=12, min_score=0.989)
    assert (found.method, found.warnings, len(found.hits)) == ("exact", (), 12)


def test_all_there_is_can_be_asked_for(thousand: Server) -> None:
    by_index = ask(thousand, "w1", exact_rows=USE_INDEX, limit=1000)
    assert (by_index.method, len(by_index.hits)) == ("index", 1000)
    similarities = [hit.similarity for hit in by_index.hits]
    assert similarities == sorted(similarities, reverse=True)


# ------------------------------------------------------------------------------------------------------------ a damaged index
def test_a_missing_index_costs_time_and_is_mentioned(own_thousand: Server) -> None:
    before = ask(own_thousand, "w1 w2 w3", exact_rows=USE_INDEX)
    drop_index(own_thousand)
    after = ask(own_thousand, "w1 w2 w3", exact_rows=USE_INDEX)
    assert after.hits == before.hits
    assert after.method == "exact"
    assert "no search index; searched exactly" in after.warnings[0]
    assert own_thousand.run(lambda c: check_recall(c, label_set(c))).recall == 0.0


def test_an_index_that_lost_rows_fails_its_check_and_is_not_used_any_more(own_thousand: Server) -> None:
    assert own_thousand.run(lambda c: check_recall(c, label_set(c), n=20)).is_good
    truth = ask(own_thousand, "w1 w2 w3")
    forget_half_of_the_index(own_thousand)
    report = own_thousand.run(lambda c: check_recall(c, label_set(c), n=20))
    assert not report.is_good
    assert 0.2 < report.recall < 0.8
    found = ask(own_thousand, "w1 w2 w3", exact_rows=USE_INDEX)
    assert (found.method, found.hits) == ("exact", truth.hits)
    assert "of the true neighbours when it was checked; searched exactly" in found.warnings[0]


def forget_half_of_the_index(server: Server) -> None:
    """Write half of the embeddings anew while the index takes no entries."""
    ready = "update pg_index set indisready = %s where indexrelid = (select oid from pg_class where relname = %s)"
    with server.connect() as connection:
        (name, table), *_ = connection.execute(
            "select indexname, tablename from pg_indexes where indexdef like '%hnsw%'"
        ).fetchall()
        connection.execute(f"create table half as select * from neuron_db.{table} where text_key % 2 = 0")
        connection.execute(f"delete from neuron_db.{table} where text_key % 2 = 0")
        connection.execute(ready, [False, name])
    with server.connect() as connection:
        connection.execute(f"insert into neuron_db.{table} select * from half")
    with server.connect() as connection:
        connection.execute(ready, [True, name])


def test_a_damaged_index_is_noticed_by_search_and_check(own_thousand: Server) -> None:
    truth = ask(own_thousand, "w1 w2 w3")
    with own_thousand.connect() as connection:
        row = connection.execute(
            "select pg_relation_filepath(format('neuron_db.%I', indexname)::regclass) from pg_indexes where indexdef like '%hnsw%'"
        ).fetchone()
    assert row is not None
    data = Path(own_thousand.host)
    stop_embedded(data.parent)
    with (data / row[0]).open("r+b") as file:
        for page in range(1, (data / row[0]).stat().st_size // 8192):
            file.seek(page * 8192 + 4000)
            file.write(b"damaged")
    start_embedded(data.parent)
    found = ask(own_thousand, "w1 w2 w3", exact_rows=USE_INDEX)
    assert (found.method, found.hits) == ("exact", truth.hits)
    assert "is damaged" in found.warnings[0]
    assert own_thousand.run(lambda c: check_recall(c, label_set(c), n=5)).recall == 0.0


# ----------------------------------------------------------------------------------------------------- questions not to answer
def test_another_embedder_is_refused(cities: Server) -> None:
    with pytest.raises(BadInput, match=r"embedded by 'words@1', the question would be by 'words@2'"):
        open_neuron_db(cities, embedder=WordEmbedder("words@2")).search("city")


@pytest.mark.parametrize("vector", [np.ones(3, np.float32), np.zeros(64, np.float32), np.full(64, np.nan, np.float32)])
def test_vectors_that_fit_nothing_are_refused(cities: Server, vector: np.ndarray) -> None:
    with pytest.raises(BadInput, match="expected 64 finite numbers"):
        open_neuron_db(cities).search(vector)


def test_a_vector_may_ask_without_an_embedder(cities: Server, embedder: WordEmbedder) -> None:
    found = open_neuron_db(cities).search(embedder.embed(["plural verbs"])[0], limit=1)
    assert found.hits[0].label == "plural verbs"
    assert found.hits[0].similarity == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("query", "limit"), [(" ", 5), ("city", 0), ("city", 100_000)])
def test_empty_texts_and_boundless_limits_are_refused(cities: Server, query: str, limit: int) -> None:
    with pytest.raises(BadInput):
        open_neuron_db(cities, embedder=WordEmbedder()).search(query, limit=limit)


def test_unknown_names_get_a_guess(cities: Server) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'demo'"):
        open_neuron_db(cities).search(model="demoo")
    with pytest.raises(UnknownName, match=r"label version 'v9'; known: v1"):
        open_neuron_db(cities).search(version="v9")


def test_a_search_cannot_write(cities: Server) -> None:
    with pytest.raises(PermanentError, match="read-only"):
        open_neuron_db(cities).server.run(lambda c: check_recall(c, label_set(c)), read_only=True)
