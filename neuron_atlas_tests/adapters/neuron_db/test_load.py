"""Loading: what is kept of labels and scores, everything or nothing, and the same input changes nothing."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import polars as pl
import pytest

from neuron_atlas.adapters.neuron_db import (
    find_label_set,
    load_labels,
    migrate,
    open_neuron_db,
    schema_version,
    search,
)
from neuron_atlas.adapters.neuron_db.load import graph_bytes
from neuron_atlas.adapters.postgres import Server, ensure_database
from neuron_atlas.core.publication.search.label_records import label_records
from neuron_atlas.core.records import ModelSpec, Tables
from neuron_atlas.core.tables import QUANTILE_LEVELS
from neuron_atlas.errors import BadInput, Incomplete
from neuron_atlas_tests.adapters.neuron_db.conftest import WordEmbedder, labels

ROOT = Path(__file__).parents[3]


def rows_of(server: Server, table: str) -> list[tuple[object, ...]]:
    with server.connect() as connection:
        return connection.execute(f"select t::text from neuron_db.{table} t order by t::text").fetchall()


def everything(server: Server) -> dict[str, list[tuple[object, ...]]]:
    tables = (
        "models",
        "label_sets",
        "descriptions",
        "embeddings",
        "quantiles",
        "exemplars",
        "quantile_levels",
        "neurons",
        "terms",
        "postings",
        "parts",
    )
    return {table: rows_of(server, table) for table in tables}


# -------------------------------------------------------------------------------------------------------------- what is kept
def test_the_hardest_metric_that_gave_a_number_scores_a_label(tables: Tables) -> None:
    found = label_records(tables).filter(pl.col("labeler") == "rules").select("neuron", "metric", "score", "measured")
    assert found.rows() == [
        (1, "intervention", 0.25, 0.5),  # before projection_rank, though that is higher
        (2, "intervention", 1.0, 1.0),
        (3, None, None, None),  # measured, but chance itself could not be: no corrected score
        (4, None, None, None),
    ]


def test_a_persons_label_is_preferred_to_a_machines(tables: Tables) -> None:
    found = label_records(tables).filter(pl.col("neuron") == 2).select("labeler", "is_preferred")
    assert sorted(found.rows()) == [("human", True), ("rules", False)]


def test_an_unknown_labeler_comes_last() -> None:
    both = [{"layer": 0, "neuron": 1, "labeler": name, "label": name} for name in ("abacus", "rules")]
    found = label_records({"output_labels": labels(both).lazy()}).select("labeler", "is_preferred")
    assert sorted(found.rows()) == [("abacus", False), ("rules", True)]


def test_a_machines_label_is_preferred_to_a_person_who_gave_none() -> None:
    given = labels([{"layer": 0, "neuron": 1, "labeler": "human"}, {"layer": 0, "neuron": 1, "label": "cities"}])
    found = label_records({"output_labels": given.lazy()}).select("labeler", "is_preferred")
    assert sorted(found.rows()) == [("human", False), ("rules", True)]


def test_all_that_was_loaded_of_a_neuron_comes_back(
    database: Server, tables: Tables, model: ModelSpec, embedder: WordEmbedder
) -> None:
    report = load_labels(database, model=model, version="v1", tables=tables, embedder=embedder)
    assert (report.label_set.n_descriptions, report.label_set.n_unlabeled) == (4, 1)
    assert (report.n_texts, report.n_quantiles, report.n_exemplars, report.is_new) == (4, 1, 2, True)
    assert report.label_set.recall == 1.0
    neuron_db = open_neuron_db(database, embedder=embedder)
    city = neuron_db.neuron("L0/N1")
    assert city.descriptions.select("label", "metric", "score", "ci_low").rows() == [
        ("capital city names", "intervention", 0.25, 0.375)
    ]
    assert city.descriptions["tokens"].to_list() == [["Paris", "\x00"]]
    assert city.quantiles["quantiles"].to_list() == [[float(i) for i in range(15)]]
    assert neuron_db.quantile_levels() == list(QUANTILE_LEVELS)
    assert city.exemplars["tokens"].to_list() == [["In", " Paris"], ["\x00", " Rome"]]
    unlabeled = neuron_db.neuron("L3/N4").descriptions
    assert unlabeled.select("label", "unlabeled_reason").rows() == [(None, "too few examples")]


def test_equal_texts_are_embedded_once(
    database: Server, many: Tables, model: ModelSpec, embedder: WordEmbedder
) -> None:
    report = load_labels(database, model=model, version="v1", tables=many, embedder=embedder)
    n_different = many["output_labels"].select("label").unique().collect().height
    assert report.n_texts == embedder.n_embedded == n_different < 400
    assert len(rows_of(database, "embeddings")) == n_different
    assert len(rows_of(database, "descriptions")) == 1200


@pytest.mark.parametrize(
    ("share", "fits"), [(1.0, True), (0.6, False)]
)  # memory comes in blocks of up to 2 MB at this size
def test_an_index_is_given_the_memory_that_it_needs(database: Server, share: float, fits: bool) -> None:
    said: list[str] = []
    with database.connect() as connection:
        connection.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
        connection.execute("create extension if not exists vector")
        connection.execute("create table few (embedding halfvec(384))")
        connection.execute(
            "insert into few select array(select random() from generate_series(1, 384) where i > 0)::halfvec(384) "
            "from generate_series(1, 2500) as i"
        )
        memory = f"{int(share * graph_bytes(2500, 384) / 1024)}kB"
        connection.execute("select set_config('maintenance_work_mem', %s, true)", [memory])
        connection.execute(
            "create index on few using hnsw (embedding halfvec_cosine_ops) with (m = 16, ef_construction = 32)"
        )
    assert any("no longer fits" in text for text in said) != fits


NO_SHARED_MEMORY = """
create schema neuron_db;
create function neuron_db.no_shared_memory() returns event_trigger language plpgsql as $$
begin
    if current_setting('max_parallel_maintenance_workers') <> '0' then
        raise exception 'could not resize shared memory segment' using errcode = '53100';
    end if;
end $$;
create event trigger no_shared_memory on ddl_command_start when tag in ('CREATE INDEX')
    execute function neuron_db.no_shared_memory();
"""
"""What a container with 64 MB of shared memory does to an index that several processes build. It goes with its schema."""


def test_where_processes_cannot_share_memory_one_builds_the_index(
    database: Server, tables: Tables, model: ModelSpec, embedder: WordEmbedder
) -> None:
    database.run(lambda c: c.execute(NO_SHARED_MEMORY))
    assert database.run(lambda c: c.execute("show max_parallel_maintenance_workers").fetchone()) != ("0",)
    report = load_labels(database, model=model, version="v1", tables=tables, embedder=embedder)
    assert report.label_set.recall == 1.0  # with its index: without one it would be 0


def test_progress_counts_embedded_texts(
    database: Server, tables: Tables, model: ModelSpec, embedder: WordEmbedder
) -> None:
    seen: list[tuple[int, int]] = []
    load_labels(
        database, model=model, version="v1", tables=tables, embedder=embedder, progress=lambda *n: seen.append(n)
    )
    assert seen == [(4, 4)]


def test_without_labels_there_is_nothing_to_load(database: Server, model: ModelSpec, embedder: WordEmbedder) -> None:
    with pytest.raises(Incomplete, match="materialize output_labels or input_labels"):
        load_labels(database, model=model, version="v1", tables={}, embedder=embedder)


# ---------------------------------------------------------------------------------------------------- again, anew, and beside
def test_the_same_input_again_writes_nothing(
    database: Server, tables: Tables, model: ModelSpec, embedder: WordEmbedder
) -> None:
    first = load_labels(database, model=model, version="v1", tables=tables, embedder=embedder)
    before, n_embedded = everything(database), embedder.n_embedded
    second = load_labels(database, model=model, version="v1", tables=tables, embedder=embedder)
    assert (second.is_new, second.label_set) == (False, first.label_set)
    assert (everything(database), embedder.n_embedded) == (before, n_embedded)


def test_a_load_forced_by_a_lost_index_gives_the_same_rows(
    database: Server, tables: Tables, model: ModelSpec, embedder: WordEmbedder
) -> None:
    load_labels(database, model=model, version="v1", tables=tables, embedder=embedder)
    before = everything(database)
    drop_index(database)
    assert load_labels(database, model=model, version="v1", tables=tables, embedder=embedder).is_new
    assert everything(database) == before


def drop_index(server: Server) -> None:
    with server.connect() as connection:
        rows = connection.execute("select indexname from pg_indexes where indexdef like '%hnsw%'").fetchall()
        for (name,) in rows:
            connection.execute(f"drop index neuron_db.{name}")


def test_a_new_load_replaces_its_version_and_no_other(
    database: Server, tables: Tables, model: ModelSpec, embedder: WordEmbedder
) -> None:
    for version in ("v1", "v2"):
        load_labels(database, model=model, version=version, tables=tables, embedder=embedder)
    only = {"output_labels": labels([{"layer": 0, "neuron": 9, "label": "rain"}]).lazy()}
    load_labels(database, model=model, version="v1", tables=only, embedder=embedder)
    neuron_db = open_neuron_db(database, embedder=embedder)
    assert [(s.version, s.n_descriptions) for s in neuron_db.label_sets()] == [("v1", 1), ("v2", 4)]
    assert [hit.label for hit in neuron_db.search("city", version="v1").hits] == ["rain"]
    assert neuron_db.search("capital city", version="v2").hits[0].label == "capital city names"


def test_models_do_not_mix(database: Server, tables: Tables, model: ModelSpec, embedder: WordEmbedder) -> None:
    other = ModelSpec("other", "revision-2", "gpt2", 4, 1000, 16, 50, "float32")
    only = {"output_labels": labels([{"layer": 0, "neuron": 1, "label": "rain"}]).lazy()}
    load_labels(database, model=model, version="v1", tables=tables, embedder=embedder)
    load_labels(database, model=other, version="v1", tables=only, embedder=embedder)
    neuron_db = open_neuron_db(database, embedder=embedder)
    assert neuron_db.neuron("L0/N1", model="other").descriptions["label"].to_list() == ["rain"]
    assert neuron_db.neuron("L0/N1", model="other").exemplars.is_empty()
    assert neuron_db.neuron("L0/N1", model="revision-1").descriptions["label"].to_list() == ["capital city names"]
    with pytest.raises(BadInput, match=r"several label sets fit.*demo.*other"):
        neuron_db.search("city")


def test_two_loads_at_once_end_in_one_of_them(database: Server, model: ModelSpec, embedder: WordEmbedder) -> None:
    def load(text: str) -> None:
        given = labels([{"layer": 0, "neuron": n, "label": f"{text} {n}"} for n in range(50)])
        load_labels(database, model=model, version="v1", tables={"output_labels": given.lazy()}, embedder=embedder)

    threads = [threading.Thread(target=load, args=(text,)) for text in ("rain", "snow", "hail")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    hits = open_neuron_db(database, embedder=embedder).search(limit=100).hits
    assert len(hits) == 50
    assert len({hit.label.split()[0] for hit in hits}) == 1


# ------------------------------------------------------------------------------------------------------------ kill -9, any time
LOADER = """
import sys
import polars as pl
from neuron_atlas.adapters.neuron_db import load_labels
from neuron_atlas.adapters.postgres import Server, ensure_database
from neuron_atlas.core.records import ModelSpec
from neuron_atlas_tests.adapters.neuron_db.conftest import WordEmbedder, labels
host, database = sys.argv[1:]
given = labels([{"layer": 0, "neuron": n, "label": f"new {n}"} for n in range(800)])
model = ModelSpec("demo", "revision-1", "llama", 4, 1000, 16, 50, "float32")
print("loading", flush=True)
tables = {"output_labels": given.lazy()}
load_labels(Server(host, database=database), model=model, version="v1", tables=tables, embedder=WordEmbedder())
print("loaded", flush=True)
"""


KILLS = int(os.environ.get("NEURON_ATLAS_TEST_KILLS", "3"))
"""How many seeded kills; more of them take a few seconds each."""


def loading(database: Server) -> subprocess.Popen[str]:
    """Another process, about to load 800 new labels."""
    arguments = [sys.executable, "-c", LOADER, database.host, database.database]
    loader = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert loader.stdout is not None
    assert loader.stdout.readline().strip() == "loading"
    return loader


@pytest.fixture(scope="module")
def seconds(server: Server) -> float:
    """How long such a load takes here."""
    with loading(ensure_database(server, "timed")) as loader:
        started = time.monotonic()
        loader.wait()
        return time.monotonic() - started


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_load_killed_at_any_instant_leaves_all_or_nothing(
    database: Server, tables: Tables, model: ModelSpec, embedder: WordEmbedder, seed: int, seconds: float
) -> None:
    load_labels(database, model=model, version="v1", tables=tables, embedder=embedder)
    with loading(database) as loader:
        try:
            loader.wait(timeout=random.Random(seed).uniform(0, 1.1) * seconds)
        except subprocess.TimeoutExpired:
            loader.kill()
    with database.connect() as connection:
        label_set = find_label_set(connection)
        found = search(connection, label_set, "names", mode="meaning", embedder=embedder, limit=1000)
    n_new = sum(hit.label.startswith("new ") for hit in found.hits)
    print(f"kill {seed}: {'all' if n_new else 'nothing'} of the new labels")
    assert (n_new, len(found.hits), label_set.n_descriptions) in [(800, 800, 800), (0, 3, 4)]
    assert found.warnings == ()


# ----------------------------------------------------------------------------------------------------------------------- schema
def test_migrating_twice_changes_nothing(database: Server) -> None:
    assert database.run(schema_version) == 0
    assert database.run(migrate) == database.run(migrate) == database.run(schema_version) == 2


def test_a_database_of_a_newer_release_is_refused(database: Server, tables: Tables, model: ModelSpec) -> None:
    database.run(migrate)
    database.run(lambda c: c.execute("insert into neuron_db.schema_version values (99)"))
    with pytest.raises(BadInput, match=r"schema 99, made by a newer release.*Upgrade"):
        load_labels(database, model=model, version="v1", tables=tables, embedder=WordEmbedder())
    with pytest.raises(BadInput, match="schema 99"):
        open_neuron_db(database)


def test_an_empty_database_says_what_to_run(database: Server) -> None:
    with pytest.raises(Incomplete, match="neuron-atlas build-db"):
        open_neuron_db(database)
    database.run(migrate)
    with pytest.raises(Incomplete, match=r"no labels yet.*neuron-atlas build-db"):
        open_neuron_db(database).search()
