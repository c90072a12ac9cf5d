"""Damage in a database or in the record of a published file: said in one sentence, taken out, and made again."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest
from dagster_duckdb import DuckDBResource

from neuron_atlas.adapters.postgres import Server, ensure_database, start_embedded, stop_embedded
from neuron_atlas.core.tables import OUTPUT_PROJECTIONS, WEIGHT_EDGES
from neuron_atlas.defs.storage.stores import DuckDBStore, PostgresStore, PublishedRecords, Store, StoredPartition

ASSET = "output_projections"
STATEMENTS = {
    "rows removed": "delete from {s}.output_projections",
    "a table dropped": "drop table {s}.output_projections",
    "a manifest garbled": "update {s}.manifests set provenance = '[1]'",
    "counts garbled": "update {s}.manifests set rows = 'null'",
}


@pytest.fixture(scope="module")
def database() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="atlas-") as home:  # pytest's own folder is closed to the server's user
        yield ensure_database(start_embedded(Path(home, "pg")), "damage")
        stop_embedded(Path(home, "pg"))


@pytest.fixture(params=["duckdb", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "duckdb":
        return DuckDBStore(DuckDBResource(database=str(tmp_path / "tables.duckdb")))
    server = request.getfixturevalue("database")
    with server.connect() as connection:
        connection.execute("drop schema if exists neuron_atlas cascade")
    return PostgresStore(server)


def frames() -> dict[str, pl.DataFrame]:
    row = {"layer": 0, "neuron": 1, "direction": 1, "rank": 0, "token_id": 3, "token": "x", "weight": 1.0}
    row |= {"weight_raw": 1.0, "output_norm": 1.0}
    return {
        ASSET: pl.DataFrame([row], schema=OUTPUT_PROJECTIONS.schema),
        WEIGHT_EDGES.name: WEIGHT_EDGES.empty(),
    }


def execute(store: Store, statement: str) -> None:
    schema = "stored" if isinstance(store, DuckDBStore) else "neuron_atlas"
    assert isinstance(store, DuckDBStore | PostgresStore)
    store.run(lambda tables: tables.connection.execute(statement.format(s=schema)))


@pytest.mark.parametrize("damage", STATEMENTS)
def test_what_somebody_did_to_the_tables_is_found_and_healed(store: Store, damage: str) -> None:
    store.write(ASSET, "L00", frames(), {"code": "1"})
    assert store.damage(ASSET, "L00") is None
    assert store.damage(ASSET, "L00", thorough=True) is None
    execute(store, STATEMENTS[damage])
    assert store.damage(ASSET, "L00") is not None
    store.set_aside(ASSET, "L00")
    assert store.find(ASSET, "L00") is None
    written = store.write(ASSET, "L00", frames(), {"code": "1"})
    assert store.find(ASSET, "L00") == written
    assert store.damage(ASSET, "L00", thorough=True) is None


def test_a_changed_value_is_found_when_everything_is_read(store: Store) -> None:
    store.write(ASSET, "L00", frames(), {"code": "1"})
    execute(store, "update {s}.output_projections set weight = 2.0")
    assert store.damage(ASSET, "L00") is None
    assert "not those that were stored" in (store.damage(ASSET, "L00", thorough=True) or "")


@pytest.mark.parametrize("length", [0, 100, 4096, 20_000])
def test_a_duckdb_file_that_was_cut_short_is_moved_away_with_its_log(tmp_path: Path, length: int) -> None:
    file = tmp_path / "tables.duckdb"
    store = DuckDBStore(DuckDBResource(database=str(file)))
    store.write(ASSET, "L00", frames(), {"code": "1"})
    content = file.read_bytes()
    assert len(content) > length
    file.write_bytes(content[:length])
    log = tmp_path / "tables.duckdb.wal"
    log.write_text("committed work")
    assert store.damage(ASSET, "L00") is not None
    store.set_aside(ASSET, "L00")
    assert (tmp_path / "tables.duckdb.damaged").stat().st_size == length
    assert (tmp_path / "tables.duckdb.damaged.wal").read_text() == "committed work"
    assert store.write(ASSET, "L00", frames(), {"code": "1"}) == store.find(ASSET, "L00")


def published(home: Path) -> PublishedRecords:
    return PublishedRecords(home / "published", {"atlas": home / "atlas.duckdb"})


def test_a_record_speaks_of_the_file_of_its_own_home(tmp_path: Path) -> None:
    """Copied and moved homes: paths in a record are those of the home that wrote it."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    duckdb.connect(first / "atlas.duckdb").close()
    published(first).record("atlas", StoredPartition("abc", {"neurons": 3}, str(first / "atlas.duckdb"), {"code": "1"}))
    shutil.copytree(first, second)
    (second / "atlas.duckdb").write_bytes(b"something else")
    assert published(second).damage("atlas", None) is not None
    assert published(first).damage("atlas", None, thorough=True) is None
    moved = first.rename(tmp_path / "moved")
    assert published(moved).damage("atlas", None, thorough=True) is None
    found = published(moved).find("atlas", None)
    assert found is not None
    assert found.location == str(moved / "atlas.duckdb")


@pytest.mark.parametrize(
    "change",
    [{"location": None}, {"file": {}}, {"file": "x"}, {"rows": None}, {"provenance": [1]}, {"content_hash": 3}],
)
def test_a_damaged_record_is_damage_and_no_traceback(tmp_path: Path, change: dict[str, object]) -> None:
    (tmp_path / "atlas.duckdb").write_bytes(b"x")
    records = published(tmp_path)
    records.record("atlas", StoredPartition("abc", {"neurons": 3}, "x", {"code": "1"}))
    file = tmp_path / "published" / "atlas.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    found = records.damage("atlas", None)
    assert found is None or "neuron-atlas materialize atlas" in found
    if found is not None:
        records.set_aside("atlas", None)
        assert records.find("atlas", None) is None
