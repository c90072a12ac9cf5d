"""Single descriptions in and out: real upserts, preferred labelers, and searches that see every change at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuron_atlas.adapters.neuron_db import LabelRecord, NeuronDb, load_labels, open_neuron_db
from neuron_atlas.adapters.postgres import Server
from neuron_atlas.core.publication.search.search_query import LabelConditions
from neuron_atlas.core.records import ModelSpec, Tables
from neuron_atlas.errors import BadInput, PermanentError
from neuron_atlas_tests.adapters.neuron_db.conftest import WordEmbedder
from neuron_atlas_tests.adapters.neuron_db.test_load import everything

RAIN = LabelRecord(
    3, 9, 1, "output", "rules", "rain and snow", tokens=["rain", "\x00"], score=0.5, metric="intervention"
)


@pytest.fixture
def neuron_db(database: Server, tables: Tables, model: ModelSpec, embedder: WordEmbedder) -> Iterator[NeuronDb]:
    """Four labeled neurons (conftest), to be changed."""
    load_labels(database, model=model, version="v1", tables=tables, embedder=embedder)
    with open_neuron_db(database, embedder=embedder) as opened:
        yield opened


def labels_of(neuron_db: NeuronDb, query: str, mode: str = "hybrid", **filters: object) -> list[str]:
    found = neuron_db.search(query, mode=mode, filters=LabelConditions(**filters))
    assert found.warnings == ()
    return [hit.label for hit in found.hits]


def test_what_is_inserted_is_found_by_meaning_by_words_and_by_key(neuron_db: NeuronDb) -> None:
    assert neuron_db.insert([RAIN]) == 1
    for mode in ("hybrid", "meaning", "words"):
        assert labels_of(neuron_db, "rain", mode)[0] == "rain and snow"
    assert neuron_db.query(LabelConditions(layers=(3, 3))) == (
        neuron_db.query(LabelConditions(labeler="rules", layers=(3, 3)))[0],
        RAIN,
    )
    assert neuron_db.neuron("L3/N9").descriptions["tokens"].to_list() == [["rain", "\x00"]]
    assert neuron_db.label_sets()[0].n_descriptions == 5


def test_inserting_twice_changes_nothing_and_inserting_another_is_refused(neuron_db: NeuronDb) -> None:
    neuron_db.insert([RAIN])
    assert neuron_db.insert([RAIN]) == 0
    with pytest.raises(BadInput, match=r"L3/N9\+ \(output, rules\) has a label record already; update or upsert it"):
        neuron_db.insert([replace(RAIN, label="hail")])
    assert labels_of(neuron_db, "rain")[0] == "rain and snow"


def test_an_update_needs_something_to_update_and_is_all_or_nothing(neuron_db: NeuronDb) -> None:
    neuron_db.insert([RAIN])
    absent = replace(RAIN, neuron=10)
    with pytest.raises(BadInput, match=r"L3/N10\+ \(output, rules\) has no label record to update"):
        neuron_db.update([replace(RAIN, label="hail"), absent])
    assert labels_of(neuron_db, "rain")[0] == "rain and snow"
    assert neuron_db.update([replace(RAIN, label="hail")]) == 1
    assert "rain and snow" not in labels_of(neuron_db, "rain")
    assert labels_of(neuron_db, "hail")[0] == "hail"


def test_an_upsert_replaces_what_is_there_and_adds_what_is_not(neuron_db: NeuronDb) -> None:
    """The published database's upsert ignored rows that were there."""
    neuron_db.insert([RAIN])
    changed, new = replace(RAIN, label="hail", score=0.75), replace(RAIN, neuron=10, label="fog")
    assert neuron_db.upsert([changed, new]) == 2
    assert {
        row.label: row.score for row in neuron_db.query(LabelConditions(layers=(3, 3), neurons=[changed.id, new.id]))
    } == {
        "hail": 0.75,
        "fog": 0.5,
    }
    assert neuron_db.upsert([changed, new]) == 0


def test_an_upsert_of_many_rows_is_one_statement_per_table(neuron_db: NeuronDb) -> None:
    """The published database's upsert put every value into one statement, which may have 65,535 of them."""
    rows = [replace(RAIN, layer=n // 100, neuron=n % 100, side="input", label=f"sky {n % 7}") for n in range(400)]
    rows = [replace(row, labeler=f"labeler {i}") for row in rows for i in range(10)]
    assert neuron_db.upsert(rows) == 4000
    assert neuron_db.label_sets()[0].n_descriptions == 4004


def test_what_is_deleted_is_gone_everywhere(neuron_db: NeuronDb, database: Server) -> None:
    before = everything(database)
    neuron_db.insert([RAIN])
    assert neuron_db.delete([RAIN.key, (0, 0, 1, "output", "nobody")]) == 1
    assert neuron_db.delete([RAIN.key]) == 0
    after = everything(database)
    same = ("descriptions", "embeddings", "terms", "postings", "quantiles", "exemplars", "models")
    assert {table: after[table] for table in same} == {table: before[table] for table in same}


def test_the_preferred_labeler_is_found_anew(neuron_db: NeuronDb) -> None:
    assert labels_of(neuron_db, "names", layers=(0, 0)) == ["capital city names"]
    person = LabelRecord(0, 1, 1, "output", "human", "seats of government")
    neuron_db.insert([person])
    assert labels_of(neuron_db, "names", layers=(0, 0)) == ["seats of government"]
    neuron_db.update([replace(person, label=None, unlabeled_reason="cannot tell")])
    assert labels_of(neuron_db, "names", layers=(0, 0)) == ["capital city names"]
    neuron_db.delete([person.key])
    assert labels_of(neuron_db, "names", layers=(0, 0)) == ["capital city names"]


def test_a_label_that_is_known_is_not_embedded_again(neuron_db: NeuronDb, embedder: WordEmbedder) -> None:
    before = embedder.n_embedded
    neuron_db.insert([replace(RAIN, label="plural verbs")])
    assert embedder.n_embedded == before


def test_a_load_of_the_same_labels_replaces_what_was_edited(
    neuron_db: NeuronDb, database: Server, tables: Tables, model: ModelSpec, embedder: WordEmbedder
) -> None:
    neuron_db.insert([RAIN])
    assert load_labels(database, model=model, version="v1", tables=tables, embedder=embedder).is_new
    assert neuron_db.query(LabelConditions(neurons=[RAIN.id])) == ()
    assert neuron_db.neuron("L3/N9").descriptions.is_empty()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layer": 4}, "has 4 layers of 1000 neurons"),
        ({"neuron": -1}, "has 4 layers of 1000 neurons"),
        ({"label": "  "}, "the label is blank"),
        ({"score": float("nan")}, "expected a finite number"),
        ({"polarity": 0}, "expected polarity 1 or -1"),
        ({"labeler": ""}, "the name of a labeler"),
    ],
)
def test_rows_that_cannot_be_are_refused(neuron_db: NeuronDb, changes: dict[str, object], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        neuron_db.upsert([RAIN, replace(RAIN, **{"labeler": "other", **changes})])
    assert neuron_db.query(LabelConditions(neurons=[RAIN.id])) == ()


def test_a_row_given_twice_is_refused(neuron_db: NeuronDb) -> None:
    with pytest.raises(BadInput, match="1 of 2 label records repeat"):
        neuron_db.upsert([RAIN, replace(RAIN, label="hail")])


def test_a_statement_that_takes_too_long_is_stopped(neuron_db: NeuronDb) -> None:
    with pytest.raises(PermanentError, match=r"was stopped.*allow more time"):
        neuron_db._pool.run(lambda c: c.execute("select pg_sleep(10)"), timeout_ms=50)
    assert labels_of(neuron_db, "plural verbs")[0] == "plural verbs"


EDITS = st.lists(
    st.tuples(
        st.sampled_from(["upsert", "delete"]),
        st.integers(0, 5),
        st.sampled_from(["human", "rules"]),
        st.sampled_from(["red", "red blue", "blue green green", None]),
    ),
    max_size=12,
)


@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(edits=EDITS)
def test_after_any_edits_the_database_is_as_if_loaded_so(neuron_db: NeuronDb, database: Server, edits) -> None:
    """Whatever was written and deleted before, the words, counts and preferences are those of the rows that are left."""
    neuron_db.delete([row.key for row in neuron_db.query(LabelConditions(only_preferred=False))])
    left: dict[object, LabelRecord] = {}
    for what, neuron, labeler, label in edits:
        reason = None if label else "unclear"
        row = LabelRecord(0, neuron, 1, "output", labeler, label, unlabeled_reason=reason)
        if what == "upsert":
            neuron_db.upsert([row])
            left[row.key] = row
        else:
            neuron_db.delete([row.key])
            left.pop(row.key, None)
    stored = {
        row.key: replace(row, is_preferred=True) for row in neuron_db.query(LabelConditions(only_preferred=False))
    }
    assert stored == left
    documents = [row.label.split() for row in left.values() if row.label]
    expected = sorted(
        (word, sum(word in words for words in documents)) for word in {w for words in documents for w in words}
    )
    with database.connect() as connection:
        terms = connection.execute('select term, n_documents from neuron_db.terms order by term collate "C"').fetchall()
        posted = connection.execute("select count(*) from neuron_db.postings").fetchone()
        texts = connection.execute("select count(*) from neuron_db.embeddings").fetchone()
    assert terms == expected
    assert posted == (sum(len(set(words)) for words in documents),)
    assert texts == (len({" ".join(words) for words in documents}),)
    (held,) = neuron_db.label_sets()
    assert (held.n_descriptions, held.n_documents) == (len(documents), len(documents))
    preferred = {(row.neuron, row.labeler) for row in neuron_db.query()}
    for neuron in {row.neuron for row in left.values()}:
        mine = {row.labeler: row.label for row in left.values() if row.neuron == neuron}
        best = min(mine, key=lambda labeler: (mine[labeler] is None, labeler != "human"))
        assert {labeler for n, labeler in preferred if n == neuron} == {best}
