"""Whatever holds the tables: what was written is read back, whole partitions are replaced, and the provenance is kept."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest
from dagster_duckdb import DuckDBResource

from neuron_atlas.adapters.postgres import Server, ensure_database, start_embedded, stop_embedded
from neuron_atlas.adapters.tables.lake import Lake
from neuron_atlas.core.tables import CLUSTER_LABELS, OUTPUT_PROJECTIONS, WEIGHT_EDGES, Table, storage
from neuron_atlas.core.tables.storage import CheckedFrames
from neuron_atlas.defs.io_managers import load
from neuron_atlas.defs.storage.stores import (
    DuckDBStore,
    LakeStore,
    PostgresStore,
    PublishedRecords,
    Store,
    StoredPartition,
)
from neuron_atlas.errors import BadInput, DamagedData, Incomplete

Rows = Callable[..., pl.DataFrame]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="atlas-") as home:  # pytest's own folder is closed to the server's user
        folder = Path(home, "pg")
        yield ensure_database(start_embedded(folder), "stores")
        stop_embedded(folder)


@pytest.fixture(params=["lake", "duckdb", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "lake":
        return LakeStore(Lake(tmp_path / "lake"))
    if request.param == "duckdb":
        return DuckDBStore(DuckDBResource(database=str(tmp_path / "deep" / "tables.duckdb")))
    server = request.getfixturevalue("server")
    with server.connect() as connection:
        connection.execute("drop schema if exists neuron_atlas cascade")
    return PostgresStore(server)


@pytest.fixture
def projections(rows_of: Rows) -> Callable[[int], dict[str, pl.DataFrame]]:
    def make(layer: int) -> dict[str, pl.DataFrame]:
        rows = [
            {"layer": layer, "neuron": n, "direction": 1, "token": f"tok {n}\x00", "weight": n / 3} for n in range(3)
        ]
        return {"output_projections": rows_of(OUTPUT_PROJECTIONS, *rows), "weight_edges": WEIGHT_EDGES.empty()}

    return make


def test_what_is_written_is_read_with_its_provenance(store: Store, projections):
    provenance = {"code": "1", "with model": "abc"}
    written = store.write("output_projections", "L00", projections(0), provenance)
    assert written.rows == {"output_projections": 3, "weight_edges": 0}
    assert store.find("output_projections", "L00") == written
    assert dict(written.provenance) == provenance
    assert (
        store.read("output_projections", ["L00"])["output_projections"]
        .collect()
        .equals(OUTPUT_PROJECTIONS.checked(projections(0)["output_projections"]))
    )


def test_the_content_hash_is_of_content(store: Store, projections):
    first = store.write("output_projections", "L00", projections(0), {"code": "1"})
    again = store.write("output_projections", "L00", projections(0), {"code": "2"})
    other = store.write("output_projections", "L00", projections(1), {"code": "2"})
    assert first.content_hash == again.content_hash != other.content_hash


def test_checked_frames_are_neither_checked_nor_hashed_again(store: Store, projections, monkeypatch):
    frames = CheckedFrames("output_projections", projections(0))
    with monkeypatch.context() as none:
        none.setattr(Table, "checked", None)
        none.setattr(storage, "frames_hash", None)
        written = store.write("output_projections", "L00", frames, {})
    assert written.content_hash == frames.content_hash
    assert written == store.write("output_projections", "L00", projections(0), {})


def test_a_store_refuses_frames_that_nobody_has_checked(store: Store, projections, rows_of: Rows):
    """Also those that were checked for another asset."""
    wrong = {**projections(0), "weight_edges": WEIGHT_EDGES.empty().drop("rank")}
    with pytest.raises(DamagedData, match="missing columns"):
        store.write("output_projections", "L00", wrong, {})
    with pytest.raises(DamagedData, match="missing or unexpected"):
        store.write("output_projections", "L00", {"weight_edges": WEIGHT_EDGES.empty()}, {})
    labels = CheckedFrames("cluster_labels", {"cluster_labels": rows_of(CLUSTER_LABELS, {"path": "1"})})
    with pytest.raises(DamagedData, match="missing or unexpected"):
        store.write("output_projections", "L00", labels, {})
    assert store.find("output_projections", "L00") is None


def test_one_partition_is_replaced_and_the_others_stay(store: Store, projections):
    for layer, key in enumerate(["L00", "L01"]):
        store.write("output_projections", key, projections(layer), {})
    store.write("output_projections", "L00", projections(7), {})
    layers = store.read("output_projections", ["L00", "L01"])["output_projections"].collect()["layer"]
    assert sorted(set(layers)) == [1, 7]


def test_an_asset_in_one_piece(store: Store, rows_of: Rows):
    assert store.find("cluster_labels", None) is None
    store.write("cluster_labels", None, {"cluster_labels": rows_of(CLUSTER_LABELS, {"path": "1"})}, {})
    assert store.read("cluster_labels", [None])["cluster_labels"].collect()["path"].to_list() == ["1"]


def test_a_missing_partition_is_said(store: Store, projections):
    store.write("output_projections", "L00", projections(0), {})
    assert store.find("output_projections", "L05") is None
    with pytest.raises(Incomplete, match="output_projections"):
        store.read("output_projections", ["L00", "L05"])


def test_reading_no_partition_gives_empty_tables(store: Store):
    """The top layer reads no later layer."""
    tables = store.read("output_labels", [])
    assert tables["output_labels"].collect().height == 0


def test_an_asset_partitioned_alike_needs_every_partition_it_names(store: Store, projections):
    store.write("output_projections", "L00", projections(0), {})
    with pytest.raises(Incomplete):
        load(store, "output_projections", ["L00", "L01"], allow_missing=False)


def test_an_asset_in_one_piece_reads_what_is_there_and_says_what_it_read(store: Store, projections):
    stored = store.write("output_projections", "L00", projections(0), {})
    loaded = load(store, "output_projections", ["L00", "L01"], allow_missing=True)
    assert loaded.sources == {"output_projections@L00": stored.content_hash}
    with pytest.raises(Incomplete, match="--select output_projections"):
        load(store, "output_projections", ["L02"], allow_missing=True)


def test_duckdb_is_closed_after_a_failed_write(tmp_path: Path):
    path = tmp_path / "tables.duckdb"
    store = DuckDBStore(DuckDBResource(database=str(path)))
    with pytest.raises(DamagedData):
        store.write("cluster_labels", None, {"cluster_labels": pl.DataFrame({"wrong": [1]})}, {})
    duckdb.connect(
        str(path), config={"threads": 1}
    ).close()  # another configuration: refused while a connection is open


def test_what_was_published_counts_only_while_it_is_there(tmp_path: Path):
    file = tmp_path / "atlas.duckdb"
    published = PublishedRecords(tmp_path / "published", {"atlas": file})
    stored = StoredPartition("abc", {"neurons": 3}, str(file), {"code": "1"})
    file.touch()
    published.record("atlas", stored)
    assert published.find("atlas", None) == stored
    file.unlink()
    assert published.find("atlas", None) is None


def test_records_of_version_0_1_are_read(tmp_path: Path):
    """They called the location `place` and the provenance `recipe`."""
    record = {"content_hash": "abc", "rows": {"neurons": 3}, "place": "x.duckdb", "recipe": {"code": "1"}}
    (tmp_path / "atlas.json").write_text(json.dumps(record))
    published = PublishedRecords(tmp_path, {})
    assert published.find("atlas", None) == StoredPartition("abc", {"neurons": 3}, "x.duckdb", {"code": "1"})


def test_what_is_published_is_no_table_store(tmp_path: Path):
    published = PublishedRecords(tmp_path, {})
    with pytest.raises(BadInput):
        published.read("atlas", [None])
    (tmp_path / "atlas.json").write_text("{")
    with pytest.raises(DamagedData, match="Make it again: neuron-atlas materialize atlas"):
        published.find("atlas", None)
