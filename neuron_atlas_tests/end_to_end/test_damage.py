"""Damage in any store is found by `materialize`, set aside, and made again with the same content."""

from __future__ import annotations

import json
import os
from pathlib import Path

import psycopg
import pytest

from neuron_atlas.adapters.postgres import start_embedded
from neuron_atlas.adapters.tables.lake import Lake
from neuron_atlas_tests.end_to_end.conftest import Run

pytestmark = pytest.mark.xdist_group("end_to_end")


@pytest.fixture
def home(built: Run, small_home: Path) -> Path:
    return small_home / "home"


def done(run: Run, *options: str) -> tuple[list[str], str]:
    """What `materialize` ran, as `asset@partition`, and what it said beside."""
    result = run("neuron-atlas", "materialize", *options, "--json")
    assert result.returncode == 0, result.stderr[-3000:]
    steps = [step for step in json.loads(result.stdout) if step["state"] == "done"]
    return [f"{asset}@{step['partition']}" for step in steps for asset in step["assets"]], result.stderr


def flip_bit(home: Path, pattern: str) -> Path:
    (manifest,) = home.glob(f"lake/{pattern}/manifest.json")
    version = json.loads(manifest.read_text())["version"]
    file = max((manifest.parent / version).glob("*.parquet"), key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    return file


def test_damage_in_every_store_is_healed_by_one_command_and_nothing_else_runs(built: Run, home: Path) -> None:
    lake = Lake(home / "lake")
    damaged = [("graph_stats", "geography"), ("raw_graphs", "filler"), ("input_projections", "L01")]
    before = [lake.manifest(*partition) for partition in damaged]
    flip_bit(home, "graph_stats/geography")
    (home / "lake" / "raw_graphs" / "filler" / "manifest.json").write_text('{"asset": "raw_gra')
    (home / "lake" / "input_projections" / "L01" / "manifest.json").write_text("")
    server = start_embedded(home / "postgres", keep_running=True).of("neuron_atlas")
    with psycopg.connect(server.dsn) as connection:
        assert connection.execute("delete from neuron_atlas.output_labels where partition_key = 'L02'").rowcount > 0
    (home / "tables.duckdb").write_bytes(b"\0" * 100_000)
    (home / "published" / "atlas.json").write_text("{")

    ran, said = done(built)
    in_duckdb = ["edge_stats", "der_scores", "clusters", "profile_clusters", "cluster_labels"]
    expected = [
        "graph_stats@geography", "raw_graphs@filler", "input_projections@L01", "output_labels@L02", "atlas@None",
        "graph_stats@filler",  # made from raw_graphs@filler, in the same run
        *(f"{asset}@None" for asset in in_duckdb),
    ]  # fmt: skip
    assert set(expected) <= set(ran)
    assert {one.partition("@")[0] for one in ran} - {one.partition("@")[0] for one in expected} <= {
        "neuron_db",
        "analyses",
    }
    for part in ("graph_stats@geography", "raw_graphs@filler", "output_labels@L02", "atlas"):
        assert f"damaged, is made again: {part}" in " ".join(said.split())
    after = [lake.manifest(*partition) for partition in damaged]
    assert [m and m.content_hash for m in after] == [m and m.content_hash for m in before]
    assert len(list((home / "lake" / ".damaged").iterdir())) == 3
    assert list(home.glob("tables.duckdb.damaged*"))


def test_damage_that_left_no_trace_is_found_when_everything_is_verified(built: Run, home: Path) -> None:
    file = flip_bit(home, "output_projections/L01")
    manifest = json.loads((file.parents[1] / "manifest.json").read_text())
    recorded = manifest["tables"][file.stem]["mtime_ns"]
    os.utime(file, ns=(recorded, recorded))
    assert done(built)[0] == []
    assert done(built, "--verify")[0] == ["output_projections@L01"]
