"""Declared tables in DuckDB and PostgreSQL: one suite, since both keep the same promises."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import duckdb
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuron_atlas.adapters.postgres import Server
from neuron_atlas.adapters.tables.duckdb_tables import DuckDBTables
from neuron_atlas.adapters.tables.partitioned_tables import PartitionedTables
from neuron_atlas.adapters.tables.postgres_tables import PostgresTables
from neuron_atlas.core import tables
from neuron_atlas.core.hashing import frames_hash
from neuron_atlas.core.records import Frames
from neuron_atlas.core.tables import ASSETS, LABEL_SCORES, TOKEN_ASSOCIATIONS, Column, Table
from neuron_atlas.core.tables.storage import PartitionManifest, stored_name
from neuron_atlas.errors import DamagedData, Incomplete, UnknownName

Result = TypeVar("Result")
NUL, NONCHARACTER = "\x00", "\ufdd0"


@dataclass(frozen=True)
class Store:
    """One database behind the methods that both have. `open` gives a connection; what is written in it is kept if it ends well."""

    name: str
    open: Callable[[], AbstractContextManager[object]]
    execute: Callable[[object, str], object]

    def tables(self, connection: object) -> PartitionedTables:
        return PostgresTables(connection) if self.name == "postgres" else DuckDBTables(connection)

    def write(self, asset: str, partition: str | None, frames: Frames) -> PartitionManifest:
        with self.open() as connection:
            return self.tables(connection).write(asset, partition, frames, provenance={"code_version": "1"})

    def read(self, asset: str, partitions: Sequence[str] | None = None) -> Frames:
        with self.open() as connection:
            return self.tables(connection).read(asset, partitions)

    def list(self, asset: str) -> list[PartitionManifest]:
        with self.open() as connection:
            return self.tables(connection).partitions(asset)

    def drop(self, asset: str, partition: str | None) -> bool:
        with self.open() as connection:
            return self.tables(connection).drop(asset, partition)

    def run(self, statement: str) -> None:
        with self.open() as connection:
            self.execute(connection, statement.format(schema=self.tables(connection).schema))


@pytest.fixture(params=["duckdb", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "duckdb":
        file = tmp_path / "tables.duckdb"
        yield Store("duckdb", lambda: duckdb.connect(str(file)), lambda c, s: c.execute(s))
    else:
        server: Server = request.getfixturevalue("database")
        yield Store("postgres", server.connect, lambda c, s: c.execute(s))


def scores(layer: int, values: Sequence[float | None]) -> Frames:
    """Partition of `label_scores`: one score per neuron 0, 1, …"""
    n = len(values)
    frame = pl.DataFrame(
        {
            "layer": [layer] * n, "neuron": list(range(n)), "polarity": [1] * n, "labeler": ["rules"] * n,
            "side": ["output"] * n, "metric": ["intervention"] * n, "score": values, "null_score": values,
            "corrected": values, "ci_low": values, "ci_high": values, "n": [9] * n, "interpretability": [None] * n,
        },
        schema=LABEL_SCORES.schema,
    )  # fmt: skip
    return {"label_scores": frame}


# ------------------------------------------------------------------------------------------------- what is written is read back
def test_a_partition_is_replaced_and_the_others_are_not_touched(store: Store) -> None:
    store.write("label_scores", "L00", scores(0, [0.5, 0.25]))
    store.write("label_scores", "L01", scores(1, [0.75]))
    store.write("label_scores", "L00", scores(0, [1.0]))
    assert store.read("label_scores", ["L00"])["label_scores"]["score"].to_list() == [1.0]
    assert store.read("label_scores")["label_scores"].select("layer", "score").rows() == [(0, 1.0), (1, 0.75)]
    assert [(m.partition, m.rows) for m in store.list("label_scores")] == [
        ("L00", {"label_scores": 1}),
        ("L01", {"label_scores": 1}),
    ]


def test_an_asset_without_partitions_is_one(store: Store) -> None:
    frames = {t.name: t.empty() for t in ASSETS["clusters"]}
    written = store.write("clusters", None, frames)
    assert store.list("clusters") == [written]
    assert written.partition is None
    assert store.read("clusters")["clusters"].equals(frames["clusters"])


def test_writing_the_same_again_changes_nothing(store: Store) -> None:
    first = store.write("label_scores", "L00", scores(0, [0.5, None]))
    assert store.write("label_scores", "L00", scores(0, [0.5, None])) == first
    assert store.list("label_scores") == [first]
    assert first.content_hash == frames_hash(store.read("label_scores"))
    assert first.provenance == {"code_version": "1"}


_TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from([NUL, NONCHARACTER, "0", "1"]), max_size=6)


def _values(dtype: pl.DataType) -> st.SearchStrategy[object]:
    if isinstance(dtype, pl.List):
        return st.lists(_values(dtype.inner), max_size=3)
    if dtype == pl.String:
        return _TEXT
    if dtype == pl.Boolean:
        return st.booleans()
    if dtype.is_float():
        # one NaN among many: DuckDB does not keep the bits that tell them apart
        return st.floats(width=32 if dtype == pl.Float32 else 64).map(lambda x: math.nan if math.isnan(x) else x)
    bits = {pl.Int8: 8, pl.Int16: 16, pl.Int32: 32, pl.Int64: 64}[type(dtype)]
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def frames_of(table: Table) -> st.SearchStrategy[pl.DataFrame]:
    """Any rows the table may hold, with distinct keys."""
    row = st.fixed_dictionaries(
        {c.name: st.none() | _values(c.dtype) if c.optional else _values(c.dtype) for c in table.columns}
    )
    rows = st.lists(row, max_size=4, unique_by=lambda r: tuple(repr(r[k]) for k in table.key))
    return rows.map(lambda rows: pl.DataFrame(rows, schema=table.schema, orient="row"))


EVERY_TYPE = ("output_labels", "activation_stats", "cluster_labels")
"""Assets whose tables have every kind of column: numbers, texts and lists of them, required and optional."""


@pytest.mark.parametrize("asset", EVERY_TYPE)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_rows_come_back_as_they_went_in(store: Store, asset: str, data: st.DataObject) -> None:
    frames = {t.name: t.checked(data.draw(frames_of(t))) for t in ASSETS[asset]}
    written = store.write(asset, "p", frames)
    found = store.read(asset, ["p"])
    assert all(found[name].equals(frame) for name, frame in frames.items())
    assert frames_hash(found) == frames_hash(frames) == written.content_hash


@pytest.mark.parametrize("asset", sorted(ASSETS))
def test_every_asset_fits(store: Store, asset: str) -> None:
    frames = {t.name: t.empty() for t in ASSETS[asset]}
    store.write(asset, "p", frames)
    assert {name: f.schema for name, f in store.read(asset).items()} == {t.name: t.schema for t in ASSETS[asset]}


# ----------------------------------------------------------------------------------------------------------- all or nothing
def test_a_write_that_fails_halfway_leaves_the_old_partition(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = store.write("label_scores", "L00", scores(0, [0.5]))

    def fails(*_: object) -> None:
        raise ZeroDivisionError

    kind = PostgresTables if store.name == "postgres" else DuckDBTables
    monkeypatch.setattr(kind, "insert_rows", fails)
    with pytest.raises(ZeroDivisionError):
        store.write("label_scores", "L00", scores(0, [0.75]))
    assert store.list("label_scores") == [before]
    assert store.read("label_scores")["label_scores"]["score"].to_list() == [0.5]


def test_rows_that_break_the_declaration_are_refused(store: Store) -> None:
    twice = pl.concat([scores(0, [0.5])["label_scores"]] * 2)
    with pytest.raises(DamagedData, match="repeat the key"):
        store.write("label_scores", "L00", {"label_scores": twice})
    with pytest.raises(DamagedData, match="missing or unexpected"):
        store.write("label_scores", "L00", {})
    assert store.list("label_scores") == []


def test_what_is_missing_is_named(store: Store) -> None:
    with pytest.raises(Incomplete, match=r"'label_scores' is not in .* yet"):
        store.read("label_scores")
    store.write("label_scores", "L00", scores(0, [0.5]))
    with pytest.raises(Incomplete, match=r"\['L07'\] of 'label_scores'.*it has \['L00'\]"):
        store.read("label_scores", ["L00", "L07"])
    with pytest.raises(UnknownName, match=r"unknown asset 'label_score'.*Did you mean 'label_scores'"):
        store.list("label_score")


def test_a_partition_can_be_dropped(store: Store) -> None:
    store.write("label_scores", "L00", scores(0, [0.5]))
    store.write("label_scores", "L01", scores(1, [0.5]))
    assert store.drop("label_scores", "L00") is True
    assert store.drop("label_scores", "L00") is False
    assert [m.partition for m in store.list("label_scores")] == ["L01"]
    assert store.read("label_scores")["label_scores"]["layer"].to_list() == [1]


def test_rows_that_someone_removed_are_noticed(store: Store) -> None:
    store.write("label_scores", "L00", scores(0, [0.5, 0.75]))
    store.run("delete from {schema}.label_scores where neuron = 0")
    with pytest.raises(DamagedData, match=r"has 1 rows .* manifest says 2"):
        store.read("label_scores")


# -------------------------------------------------------------------------------------------------------- declarations change
def declare(monkeypatch: pytest.MonkeyPatch, *columns: Column) -> None:
    """Let `label_scores` be declared with these columns from now on."""
    table = replace(LABEL_SCORES, columns=columns)
    monkeypatch.setitem(tables.ASSETS, "label_scores", (table,))
    assert tables.tables_of("label_scores") == (table,)


def test_a_new_optional_column_is_added_and_old_rows_lack_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write("label_scores", "L00", scores(0, [0.5]))
    declare(monkeypatch, *LABEL_SCORES.columns, Column("remark", pl.String(), "for the test", optional=True))
    assert store.read("label_scores")["label_scores"]["remark"].to_list() == [None]
    frame = scores(1, [0.75])["label_scores"].with_columns(remark=pl.lit("new"))
    store.write("label_scores", "L01", {"label_scores": frame})
    assert store.read("label_scores")["label_scores"]["remark"].to_list() == [None, "new"]


def test_a_table_that_someone_dropped_is_noticed_and_made_again(store: Store) -> None:
    store.write("label_scores", "L00", scores(0, [0.5]))
    store.run("drop table {schema}.label_scores")
    with pytest.raises(DamagedData, match=r"has 0 rows .* manifest says 1.*materialize label_scores again"):
        store.read("label_scores")
    store.write("label_scores", "L00", scores(0, [0.5]))
    assert store.read("label_scores")["label_scores"].height == 1


def test_any_other_change_is_refused_with_the_way_out(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write("label_scores", "L00", scores(0, [0.5]))
    declare(monkeypatch, *(replace(c, dtype=pl.Int64()) if c.name == "n" else c for c in LABEL_SCORES.columns))
    with pytest.raises(DamagedData, match=r"another version .*'n'.*drop table .*materialize label_scores again"):
        store.write("label_scores", "L00", scores(0, [0.5]))


def test_two_assets_with_the_same_table_do_not_share_it() -> None:
    shared = next(t for t in ASSETS["edge_stats"] if t.name == "neuron_prompts")
    assert stored_name("edge_stats", shared) == "edge_stats__neuron_prompts"
    assert stored_name("graph_stats", shared) == "graph_stats__neuron_prompts"
    assert stored_name("edge_stats", TOKEN_ASSOCIATIONS) == "token_associations"
