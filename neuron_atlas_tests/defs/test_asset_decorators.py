"""What an asset's frames go through between its function and the store: one check against the declarations, one hash."""

from __future__ import annotations

from collections import Counter
from typing import Any

import polars as pl
import pytest

from neuron_atlas.core import hashing
from neuron_atlas.core.tables import Table
from neuron_atlas.errors import DamagedData

Toy = Any


def test_a_materialization_checks_each_table_once_and_hashes_once(toy: Toy, monkeypatch: pytest.MonkeyPatch):
    checked, hashed = Counter[str](), Counter[str]()
    check, hash_frame = Table.checked, hashing.frame_hash

    def counting_check(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
        checked[table.name] += 1
        return check(table, frame)

    def counting_hash(frame: pl.DataFrame) -> str:
        hashed["frames"] += 1
        return hash_frame(frame)

    monkeypatch.setattr(Table, "checked", counting_check)
    monkeypatch.setattr(hashing, "frame_hash", counting_hash)
    toy.run("output_projections", partition="L00")
    assert checked == {"output_projections": 1, "weight_edges": 1}
    assert hashed == {"frames": 2}  # of two tables


def test_frames_that_break_the_declaration_are_refused_before_anything_is_stored(toy: Toy):
    toy.spoil = lambda frame: frame.drop("weight")
    with pytest.raises(DamagedData, match="missing columns"):
        toy.run("output_projections", partition="L00")
    assert toy.lake.partitions("output_projections") == []
