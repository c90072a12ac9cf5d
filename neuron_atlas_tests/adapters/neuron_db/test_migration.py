"""An older database comes forward with everything in it."""

from __future__ import annotations

import pytest
from psycopg import sql

from neuron_atlas.adapters.neuron_db import load_labels, migrate, open_neuron_db
from neuron_atlas.adapters.neuron_db.schema import steps
from neuron_atlas.adapters.postgres import Server, ensure_vector
from neuron_atlas.core.records import ModelSpec, Tables
from neuron_atlas.errors import BadInput, Incomplete
from neuron_atlas_tests.adapters.neuron_db.conftest import WordEmbedder

FIRST_RELEASE = """
insert into neuron_db.models (model_id, revision, n_layers, n_neurons) values ('demo', 'revision-1', 4, 100);
insert into neuron_db.label_sets (model, version, embedder, dimension, content_hash, n_descriptions, n_unlabeled, recall)
    values (1, 'v1', 'words@1', 64, 'abc', 1, 0, 1);
create table neuron_db.descriptions_1 partition of neuron_db.descriptions for values in (1);
create table neuron_db.embeddings_1 partition of neuron_db.embeddings for values in (1);
insert into neuron_db.descriptions (label_set, layer, neuron, polarity, side, labeler, labeler_version, is_preferred, label, type,
    direction, tokens, evidence_hash, text_key) values (1, 0, 1, 1, 'output', 'rules', '1', true, 'city names', 'semantic', 1,
    '{}', '', 0);
insert into neuron_db.embeddings select 1, 0, array_fill(0.125::real, array[64])::vector::halfvec;
insert into neuron_db.quantiles values (1, 'tiny', 0, 1, 5, 0, 0, '{1,2}');
insert into neuron_db.exemplars values (1, 'tiny', 0, 1, 1, 'top', 0, 't', '{a}', '{1}', 0, 1);
"""


@pytest.fixture
def old(database: Server) -> Server:
    """A database as the first release left it."""
    with database.connect() as connection:
        ensure_vector(connection)
        connection.execute("create schema neuron_db")
        connection.execute("create table neuron_db.schema_version (version integer primary key)")
        connection.execute(sql.SQL(steps()[1]))
        connection.execute("insert into neuron_db.schema_version values (1)")
        connection.execute(FIRST_RELEASE)
    return database


def test_an_older_database_is_refused_with_the_command_that_brings_it_forward(old: Server) -> None:
    with pytest.raises(Incomplete, match=r"schema 1, this release needs 2; update it with: neuron-atlas build-db"):
        open_neuron_db(old)


def test_nothing_is_lost_on_the_way_and_what_is_new_is_said_to_be_missing(old: Server) -> None:
    old.run(migrate)
    with open_neuron_db(old, embedder=WordEmbedder()) as neuron_db:
        found = neuron_db.search("city")
        assert [hit.label for hit in found.hits] == ["city names"]
        assert "words of label set 'v1' are not indexed; searched by meaning alone" in found.warnings[-1]
        with pytest.raises(BadInput, match=r"are not indexed. Load the labels again: neuron-atlas build-db"):
            neuron_db.search("city", mode="words")
        city = neuron_db.neuron("L0/N1")
        assert city.quantiles["quantiles"].to_list() == [[1.0, 2.0]]
        assert city.exemplars["tokens"].to_list() == [["a"]]
        assert city.cluster_path is None


def test_the_next_load_makes_an_older_label_set_whole(old: Server, tables: Tables, model: ModelSpec) -> None:
    report = load_labels(old, model=model, version="v1", tables=tables, embedder=WordEmbedder())
    assert report.is_new
    with open_neuron_db(old, embedder=WordEmbedder()) as neuron_db:
        found = neuron_db.search("city", mode="words")
        assert {hit.label for hit in found.hits} == {"capital city names"}
        assert neuron_db.neuron("L0/N1").quantiles["quantiles"].to_list() == [[float(i) for i in range(15)]]
