"""One suite for both places that labels can be searched in: a NeuronDB in Postgres and the atlas file.

What they must find is worked out beside them: every description and its similarity in plain numpy.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuron_atlas.adapters.atlas_duckdb import build_atlas, open_atlas
from neuron_atlas.adapters.neuron_db import load_labels, open_neuron_db
from neuron_atlas.adapters.postgres import Server, ensure_database
from neuron_atlas.core.publication.search.label_records import label_records
from neuron_atlas.core.publication.search.label_search import LabelSearch
from neuron_atlas.core.publication.search.search_query import LabelConditions, Mode
from neuron_atlas.core.records import ModelSpec, NeuronId, Tables
from neuron_atlas.core.tables import CLUSTER_LABELS, CLUSTER_MEMBERS, CLUSTERS, EDGE_STATS, NEURON_PROFILES
from neuron_atlas.errors import BadInput, UnknownName
from neuron_atlas_tests.adapters.neuron_db.conftest import WordEmbedder, fitted

PATHS = {0: "1", 1: "1.1", 2: "2", 3: None}
"""Layer to the cluster of its neurons."""


@pytest.fixture(scope="module")
def clustered(many: Tables) -> Tables:
    """The 1,200 neurons of `many`; layer 0 in cluster 1, layer 1 inside it in 1.1, layer 2 in 2, layer 3 in none."""
    at = many["output_labels"].collect().select("layer", "neuron")
    members = at.with_columns(path=pl.col("layer").replace_strict(PATHS, return_dtype=pl.String))
    clusters = pl.DataFrame({"path": ["1", "1.1", "2"], "size": [600, 300, 300]})
    names = pl.DataFrame({"path": ["1", "2"], "label": ["first module", "second module"], "is_best": True})
    return {
        **many,
        "cluster_members": fitted(CLUSTER_MEMBERS, members).lazy(),
        "clusters": fitted(CLUSTERS, clusters).lazy(),
        "cluster_labels": fitted(CLUSTER_LABELS, names).lazy(),
    }


@pytest.fixture(scope="module")
def stores(
    server: Server, clustered: Tables, model: ModelSpec, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, LabelSearch]]:
    database = ensure_database(server, "both_stores")
    load_labels(database, model=model, version="v1", tables=clustered, embedder=WordEmbedder())
    path = tmp_path_factory.mktemp("both") / "atlas.duckdb"
    needed = {table.name: table.empty().lazy() for table in (EDGE_STATS, NEURON_PROFILES)}
    build_atlas(path, {**clustered, **needed}, facts={}, embedder=WordEmbedder())
    with (
        open_neuron_db(database, embedder=WordEmbedder()) as neuron_db,
        open_atlas(path, embedder=WordEmbedder()) as atlas,
    ):
        yield {"postgres": neuron_db, "duckdb": atlas.labels}


@pytest.fixture(params=["postgres", "duckdb"])
def store(request: pytest.FixtureRequest, stores: dict[str, LabelSearch]) -> LabelSearch:
    return stores[request.param]


@cache
def _vectors(texts: tuple[str, ...]) -> np.ndarray:
    return WordEmbedder().embed(texts)


def passing(tables: Tables, filters: LabelConditions) -> pl.DataFrame:
    """What the filters say, in polars."""
    rows = label_records(tables).drop_nulls("label")
    low, high = filters.layers or (None, None)
    paths = pl.col("layer").replace_strict(PATHS, return_dtype=pl.String)
    inside = (
        None
        if filters.cluster is None
        else [p for p in PATHS.values() if p and f"{p}.".startswith(f"{filters.cluster}.")]
    )
    wanted = {(n.layer, n.neuron) for n in filters.neurons or ()}
    conditions = [
        pl.lit(True) if low is None else pl.col("layer") >= low,
        pl.lit(True) if high is None else pl.col("layer") <= high,
        pl.lit(True) if filters.polarity is None else pl.col("polarity") == filters.polarity,
        pl.lit(True) if filters.min_score is None else pl.col("score") >= filters.min_score,
        pl.lit(True) if filters.keyword is None else pl.col("label").str.contains(filters.keyword, literal=True),
        pl.lit(True) if inside is None else paths.is_in(inside),
    ]
    kept = rows.filter(conditions)
    if filters.neurons is not None:
        kept = kept.filter(
            pl.struct("layer", "neuron").map_elements(lambda r: (r["layer"], r["neuron"]) in wanted, pl.Boolean)
        )
    return kept


FILTERS = st.builds(
    LabelConditions,
    layers=st.none() | st.tuples(st.none() | st.integers(0, 3), st.none() | st.integers(0, 3)),
    polarity=st.none() | st.sampled_from([1, -1]),
    min_score=st.none() | st.floats(0, 1, width=32),
    keyword=st.none() | st.integers(0, 59).map(lambda i: f"w{i}"),
    cluster=st.none() | st.sampled_from(["1", "1.1", "2"]),
    neurons=st.none() | st.lists(st.builds(NeuronId, st.integers(0, 3), st.integers(0, 299)), max_size=400),
)


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(filters=FILTERS, limit=st.integers(1, 30), words=st.lists(st.integers(0, 59), min_size=1, max_size=3))
def test_never_fewer_than_asked_for_and_always_the_nearest(stores, clustered, filters, limit, words) -> None:
    query = " ".join(f"w{i}" for i in words)
    rows = passing(clustered, filters)
    near = np.sort(_vectors(tuple(rows["label"])) @ WordEmbedder().embed([query])[0] if rows.height else np.empty(0))[
        ::-1
    ]
    for name, store in stores.items():
        hits = store.search(query, mode="meaning", filters=filters, limit=limit).hits
        assert len(hits) == min(limit, rows.height), name
        assert [hit.similarity for hit in hits] == pytest.approx(near[:limit], abs=2e-3), name
        assert {hit.key for hit in hits} <= set(rows.select("layer", "neuron", "polarity", "side", "labeler").rows()), (
            name
        )
        both = store.search(query, mode="hybrid", filters=filters, limit=limit).hits
        assert len(both) == min(limit, rows.height), name
        assert {hit.key for hit in both} <= set(rows.select("layer", "neuron", "polarity", "side", "labeler").rows()), (
            name
        )


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(filters=FILTERS, words=st.lists(st.integers(0, 59), min_size=1, max_size=3, unique=True))
def test_a_search_by_words_finds_all_that_hold_one_of_them_and_ranks_alike_in_both(
    stores, clustered, filters, words
) -> None:
    query = " ".join(f"w{i}" for i in words)
    rows = passing(clustered, filters)
    asked = {f"w{i}" for i in words}
    holding = rows.filter(pl.col("label").str.split(" ").list.eval(pl.element().is_in(list(asked))).list.any())
    found = {
        name: store.search(query, mode="words", filters=filters, limit=1000).hits for name, store in stores.items()
    }
    scores = {name: [(hit.key, round(hit.words_score, 4)) for hit in hits] for name, hits in found.items()}
    assert scores["postgres"] == scores["duckdb"]
    # "w1" also begins "w10", so more than those that hold the word itself may be found; none of these is missing
    assert {hit.key for hit in found["duckdb"]} >= set(
        holding.select("layer", "neuron", "polarity", "side", "labeler").rows()
    )


def test_a_hit_carries_both_scores(store: LabelSearch) -> None:
    first = store.search("w1 w2", limit=1).hits[0]
    assert first.similarity is not None
    assert first.words_score is not None
    assert first.words_score > 0


def test_what_both_lists_have_first_is_first(store: LabelSearch) -> None:
    label = store.search("w7 w8", mode="meaning", limit=1).hits[0].label
    assert store.search(label, mode="hybrid", limit=1).hits[0].label == label


def test_a_question_without_words_is_still_one_by_meaning(store: LabelSearch) -> None:
    assert len(store.search("?!", limit=3).hits) == 3
    with pytest.raises(BadInput, match="at least one letter or digit"):
        store.search("?!", mode="words")


def test_without_a_question_the_best_scored_come_first(store: LabelSearch) -> None:
    found = store.search(filters=LabelConditions(layers=(2, 2)), limit=5)
    scores = [hit.score for hit in found.hits]
    assert scores == sorted(scores, reverse=True)
    assert {hit.layer for hit in found.hits} == {2}
    assert found.method == "listing"


@pytest.mark.parametrize("mode", ["hybrid", "meaning", "words"])
def test_layers_may_be_a_text(store: LabelSearch, mode: Mode) -> None:
    def layers_found(layers: str) -> set[int]:
        hits = store.search("w1 w2", mode=mode, filters=LabelConditions(layers=layers), limit=1000).hits
        return {hit.layer for hit in hits}

    assert layers_found("1") == {1}
    assert layers_found("..1") == {0, 1}
    assert layers_found("0,L2..L3") == {0, 2, 3}
    assert layers_found("..") == {0, 1, 2, 3}
    assert layers_found("77..") == set()
    with pytest.raises(BadInput, match="names no layers"):
        layers_found("2-3")


@pytest.mark.parametrize("mode", ["hybrid", "meaning", "words"])
def test_a_cluster_stands_for_what_is_inside_it(store: LabelSearch, mode: Mode) -> None:
    found = store.search("w1 w2", mode=mode, filters=LabelConditions(cluster="1"), limit=50).hits
    assert {hit.layer for hit in found} == {0, 1}
    assert {hit.layer for hit in store.search("w1 w2", mode=mode, filters=LabelConditions(cluster="1.1")).hits} == {1}


def test_a_cluster_that_does_not_exist_is_named(store: LabelSearch) -> None:
    with pytest.raises(UnknownName, match=r"unknown cluster .7.; known: 1, 1\.1, 2"):
        store.search("w1", filters=LabelConditions(cluster="7"))


@pytest.mark.parametrize(
    ("query", "mode", "limit"),
    [(" ", "hybrid", 5), ("w1", "hybrid", 0), ("w1", "hybrid", 1001), ("w1", "nearly", 5), ("x" * 1001, "words", 5)],
)
def test_queries_without_an_answer_are_refused_with_the_same_message(stores, query, mode, limit) -> None:
    said = []
    for store in stores.values():
        with pytest.raises(BadInput) as refused:
            store.search(query, mode=mode, limit=limit)
        said.append(str(refused.value))
    assert len(set(said)) == 1


def test_a_vector_asks_by_meaning(store: LabelSearch) -> None:
    vector = WordEmbedder().embed(["w1 w2"])[0]
    assert store.search(vector, limit=5).hits == store.search("w1 w2", mode="meaning", limit=5).hits
    with pytest.raises(BadInput, match="expected 64 finite numbers"):
        store.search(vector[:3])
    with pytest.raises(BadInput, match="needs a text"):
        store.search(vector, mode="words")


def test_an_atlas_without_vectors_is_searched_by_words_and_says_so(clustered: Tables, tmp_path: Path) -> None:
    needed = {table.name: table.empty().lazy() for table in (EDGE_STATS, NEURON_PROFILES)}
    build_atlas(tmp_path / "a.duckdb", {**clustered, **needed}, facts={})
    with open_atlas(tmp_path / "a.duckdb") as atlas:
        found = atlas.labels.search("w1 w2", limit=5)
        assert found.hits == atlas.labels.search("w1 w2", mode="words", limit=5).hits
        assert "no vectors of its labels; neuron-atlas build-db adds them" in found.warnings[0]
        with pytest.raises(BadInput, match=r"cannot search by meaning.*neuron-atlas build-db"):
            atlas.labels.search("w1", mode="meaning")


def test_another_embedder_is_refused_by_the_atlas(clustered: Tables, tmp_path: Path) -> None:
    needed = {table.name: table.empty().lazy() for table in (EDGE_STATS, NEURON_PROFILES)}
    build_atlas(tmp_path / "a.duckdb", {**clustered, **needed}, facts={}, embedder=WordEmbedder())
    with (
        open_atlas(tmp_path / "a.duckdb", embedder=WordEmbedder("words@2")) as atlas,
        pytest.raises(BadInput, match="'words@1', the question would be by 'words@2'"),
    ):
        atlas.labels.search("w1")


def test_hits_by_words_are_merged_only_where_they_hold_half_of_the_question(store: LabelSearch) -> None:
    """`w17` stands in some labels; `unheard of things` in none. One word of four is too little to say anything."""
    question = "w17 unheard reported things"
    assert store.search(question, mode="words").hits
    by_both, by_meaning = (store.search(question, mode=mode, limit=10) for mode in ("hybrid", "meaning"))
    assert [hit.key for hit in by_both.hits] == [hit.key for hit in by_meaning.hits]
    half = store.search("w17 unheard", limit=10)
    assert all("w17" in hit.label.split() and hit.words_score for hit in half.hits)


def test_a_longer_word_is_no_whole_one(store: LabelSearch) -> None:
    """`w` begins every word of every label: all are found by words, none of them counts beside meaning."""
    by_both, by_meaning = (store.search("w", mode=mode, limit=10) for mode in ("hybrid", "meaning"))
    assert store.search("w", mode="words").hits
    assert [hit.key for hit in by_both.hits] == [hit.key for hit in by_meaning.hits]
