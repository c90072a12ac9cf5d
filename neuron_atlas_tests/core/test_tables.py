"""A frame that differs from its table is refused before it is stored."""

from __future__ import annotations

import polars as pl
import pytest

from neuron_atlas.core.hashing import frames_hash
from neuron_atlas.core.tables import ASSETS, EDGES, Table
from neuron_atlas.core.tables.storage import CheckedFrames, check_frames
from neuron_atlas.errors import DamagedData, UnknownName


def edges(**columns: list[object]) -> pl.DataFrame:
    rows: dict[str, list[object]] = {"prompt_id": ["p", "p"], "source": [1, 0], "target": [2, 2], "weight": [0.5, 0.25]}
    return pl.DataFrame(rows | columns)


def test_checked_orders_columns_casts_and_sorts_by_key() -> None:
    frame = EDGES.checked(edges().select("weight", "target", "source", "prompt_id"))
    assert frame.columns == ["prompt_id", "source", "target", "weight"]
    assert frame.schema == pl.Schema(EDGES.schema)
    assert frame["source"].to_list() == [0, 1]


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (edges().drop("weight"), "missing columns"),
        (edges(more=[1, 2]), "unexpected columns"),
        (edges(source=[0, None]), "missing values"),
        (edges(source=[0, 0]), "repeat the key"),
        (edges(source=[2**40, 0]), "does not fit"),
    ],
)
def test_checked_refuses(frame: pl.DataFrame, words: str) -> None:
    with pytest.raises(DamagedData, match=words):
        EDGES.checked(frame)


@pytest.mark.parametrize("table", [t for tables in ASSETS.values() for t in tables], ids=lambda t: t.name)
def test_every_declaration_is_sound(table: Table) -> None:
    names = [c.name for c in table.columns]
    assert len(set(names)) == len(names)
    assert set(table.key) <= set(names)
    assert not any(c.optional for c in table.columns if c.name in table.key)
    assert all(c.meaning and not c.meaning.endswith(".") for c in table.columns)
    assert table.checked(table.empty()).height == 0


def test_checked_frames_fit_their_declarations_and_know_their_hash() -> None:
    given = {table.name: table.empty() for table in ASSETS["raw_graphs"]} | {"edges": edges()}
    frames = CheckedFrames("raw_graphs", given)
    assert frames["edges"].equals(EDGES.checked(edges()))
    assert frames.content_hash == frames_hash({name: frames[name] for name in frames})
    assert frames.rows == {"graphs": 0, "targets": 0, "nodes": 0, "edges": 2}
    assert check_frames("raw_graphs", frames) is frames


def test_there_are_no_checked_frames_that_break_a_declaration() -> None:
    given = {table.name: table.empty() for table in ASSETS["raw_graphs"]}
    with pytest.raises(DamagedData, match="missing columns"):
        check_frames("raw_graphs", given | {"edges": edges().drop("weight")})
    with pytest.raises(DamagedData, match=r"missing or unexpected: \['more'\]"):
        check_frames("raw_graphs", given | {"more": edges()})
    with pytest.raises(UnknownName, match="Did you mean 'raw_graphs'"):
        check_frames("raw_graph", given)
