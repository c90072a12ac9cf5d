"""Building: what is in the file, and that no reader ever sees half of it."""

from __future__ import annotations

import fcntl
import random
import resource
import signal
import subprocess
import sys
import time

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from neuron_atlas.adapters.atlas_duckdb import build_atlas, open_atlas, table_hashes
from neuron_atlas.adapters.atlas_duckdb.schema import PUBLISHED
from neuron_atlas.core.tables import NEURON_PROFILES
from neuron_atlas.errors import BadInput, DamagedData, Incomplete, PermanentError, TransientError


def test_a_report_counts_rows(tmp_path, tables_of, facts):
    report = build_atlas(tmp_path / "a.duckdb", tables_of(), facts=facts)
    assert report.rows["neurons"] == 4
    assert report.rows["edges"] == 2
    assert report.rows["edge_stats"] == 4
    assert report.missing == ()
    assert report.bytes == (tmp_path / "a.duckdb").stat().st_size


def test_tables_come_out_as_they_went_in(built, tables_of):
    given = tables_of()
    with open_atlas(built) as atlas:
        for name, table in PUBLISHED.items():
            stored = atlas.sql(f"SELECT * FROM {name}")
            assert stored.schema == table.schema, name
            if name not in ("graphs", "targets", "graph_nodes", "graph_edges"):  # shared prompts stand once, see below
                assert_frame_equal(table.checked(stored), table.checked(given[table.name].collect()))


def test_a_prompt_in_two_sets_has_two_rows_of_graphs_and_one_graph(built):
    with open_atlas(built) as atlas:
        assert atlas.sql("SELECT prompt_set FROM graphs WHERE prompt_id = 'p1' ORDER BY ALL")[
            "prompt_set"
        ].to_list() == [
            "geography",
            "shared",
        ]
        assert atlas.sql("SELECT count(*) FROM graph_edges").item() == 1
        assert atlas.sql("SELECT count(*) FROM graph_nodes").item() == 4


def test_metadata_holds_facts_and_counts(built):
    with open_atlas(built) as atlas:
        known = atlas.metadata
    assert known["model_id"] == "hand-made"
    assert (known["total_neurons"], known["total_edges"], known["total_clusters"]) == ("4", "2", "2")
    assert known["missing_tables"] == ""


def test_meanings_travel_with_the_file(built):
    with open_atlas(built) as atlas:
        said = atlas.sql("SELECT comment FROM duckdb_tables() WHERE table_name = 'neuron_profiles'").item()
    assert said == NEURON_PROFILES.meaning


def test_same_tables_same_content(tmp_path, tables_of, facts):
    shuffled = {
        name: frame.collect().sample(fraction=1, shuffle=True, seed=1).lazy() for name, frame in tables_of().items()
    }
    build_atlas(tmp_path / "a.duckdb", tables_of(), facts=facts)
    build_atlas(tmp_path / "b.duckdb", shuffled, facts=facts)
    assert table_hashes(tmp_path / "a.duckdb") == table_hashes(tmp_path / "b.duckdb")


def test_other_tables_other_content(tmp_path, tables_of, rows_of, facts, built):
    changed = tables_of(output_labels=[{**row, "label": "something else"} for row in rows_of("output_labels")])
    build_atlas(tmp_path / "a.duckdb", changed, facts=facts)
    before, after = table_hashes(built), table_hashes(tmp_path / "a.duckdb")
    assert {name for name in before if before[name] != after[name]} >= {"output_labels", "neurons", "search_postings"}
    assert before["edge_stats"] == after["edge_stats"]


def test_what_is_not_there_yet_is_empty_and_named(tmp_path, tables_of):
    given = tables_of()
    report = build_atlas(tmp_path / "a.duckdb", {n: given[n] for n in ("edge_stats", "neuron_profiles")}, facts={})
    assert "output_labels" in report.missing
    with open_atlas(tmp_path / "a.duckdb") as atlas:
        assert "output_labels" in atlas.metadata["missing_tables"]
        assert atlas.neuron("L1/N3").labels.height == 0
        assert atlas.clusters().height == 0


def test_without_edges_and_profiles_there_is_nothing_to_publish(tmp_path, tables_of):
    with pytest.raises(Incomplete, match="edge_stats, neuron_profiles"):
        build_atlas(tmp_path / "a.duckdb", {"clusters": tables_of()["clusters"]}, facts={})


def test_refusals(tmp_path, tables_of):
    with pytest.raises(BadInput, match="is a folder"):
        build_atlas(tmp_path, tables_of(), facts={})
    with pytest.raises(BadInput, match="expected a whole number"):
        build_atlas(tmp_path / "a.duckdb", tables_of(), facts={"n_layers": "many"})


BROKEN = {
    "cluster exists": ("cluster_members", lambda rows: [*rows, {"layer": 1, "neuron": 7, "path": "9", "top": 9}]),
    "labeled cluster exists": ("cluster_labels", lambda rows: [*rows, {"path": "9", "is_best": True}]),
    "one best label": ("cluster_labels", lambda rows: [*rows, {**rows[0], "labeler": "openai"}]),
    "as many members": ("clusters", lambda rows: [{**rows[0], "size": 5}, rows[1]]),
    "belongs to a label": ("label_scores", lambda rows: [*rows, {**rows[0], "neuron": 4}]),
    "one the model has": ("cluster_members", lambda rows: [*rows, {"layer": 2, "neuron": 0}]),
    "joins nodes": ("edges", lambda rows: [*rows, {"prompt_id": "p1", "source": 1, "target": 99}]),
    "have their prompt": ("nodes", lambda rows: [*rows, {"prompt_id": "p9", "node": 0, "kind": "neuron"}]),
}


@pytest.mark.parametrize("promise", BROKEN)
def test_tables_that_contradict_each_other_are_not_published(tmp_path, tables_of, rows_of, facts, promise):
    path = tmp_path / "a.duckdb"
    build_atlas(path, tables_of(), facts=facts)
    before = path.read_bytes()
    name, spoil = BROKEN[promise]
    with pytest.raises(DamagedData, match=promise):
        build_atlas(path, tables_of(**{name: spoil(rows_of(name))}), facts=facts)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if "building" in p.name] == []


def test_a_table_that_breaks_its_declaration_is_not_published(tmp_path, tables_of, rows_of, facts):
    with pytest.raises(DamagedData, match="repeat the key"):
        build_atlas(tmp_path / "a.duckdb", tables_of(clusters=rows_of("clusters") * 2), facts=facts)
    assert not (tmp_path / "a.duckdb").exists()


@pytest.mark.parametrize("room", [10_000, 400_000, 2_000_000])
def test_a_full_disk_leaves_the_old_atlas(tmp_path, tables_of, facts, room):
    path = tmp_path / "a.duckdb"
    build_atlas(path, tables_of(), facts=facts)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))  # no file may grow beyond: the disk is full
    try:
        with pytest.raises(PermanentError, match=r"a\.duckdb\.building.*free disk space"):
            build_atlas(path, tables_of(), facts={**facts, "model_id": "new"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with open_atlas(path) as atlas:
        assert atlas.metadata["model_id"] == "hand-made"
    build_atlas(path, tables_of(), facts={**facts, "model_id": "new"})  # space is back
    with open_atlas(path) as atlas:
        assert atlas.metadata["model_id"] == "new"


def test_a_flush_that_fails_publishes_nothing(tmp_path, tables_of, facts, monkeypatch):
    path = tmp_path / "a.duckdb"
    build_atlas(path, tables_of(), facts=facts)
    before = path.read_bytes()

    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr("neuron_atlas.adapters.files.os.fsync", fail)
        with pytest.raises(PermanentError, match="The old atlas is untouched"):
            build_atlas(path, tables_of(), facts={**facts, "model_id": "new"})
    assert path.read_bytes() == before


def test_leftovers_of_a_killed_build_are_removed(tmp_path, tables_of, facts):
    (tmp_path / "a.duckdb.building").write_bytes(b"half an atlas")
    (tmp_path / "a.duckdb.building.wal").write_bytes(b"and its log")
    (tmp_path / "a.duckdb.building.tmp").mkdir()
    build_atlas(tmp_path / "a.duckdb", tables_of(), facts=facts)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".a.duckdb.lock", "a.duckdb"]


def test_one_build_at_a_time(tmp_path, tables_of, facts):
    with (tmp_path / ".a.duckdb.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(TransientError, match="another process is building"):
            build_atlas(tmp_path / "a.duckdb", tables_of(), facts=facts)
    build_atlas(tmp_path / "a.duckdb", tables_of(), facts=facts)


def test_a_reader_keeps_its_atlas_while_the_file_is_replaced(tmp_path, tables_of, facts):
    path = tmp_path / "a.duckdb"
    build_atlas(path, tables_of(), facts=facts)
    with open_atlas(path) as old:
        assert old.metadata["model_id"] == "hand-made"
        build_atlas(path, tables_of(cluster_labels=[]), facts={**facts, "model_id": "new"})
        assert old.metadata["model_id"] == "hand-made"
        assert old.clusters()["label"].null_count() == 1
        with open_atlas(path) as new:  # in the same process, while the old one is open
            assert new.metadata["model_id"] == "new"
            assert new.clusters()["label"].null_count() == 2


BUILD_FOR_EVER = """
import itertools, sys
from pathlib import Path
import polars as pl
from neuron_atlas.adapters.atlas_duckdb import build_atlas
tables = {p.stem: pl.scan_parquet(p) for p in Path(sys.argv[1]).glob("*.parquet")}
print("ready", flush=True)
for n in itertools.count():
    build_atlas(sys.argv[2], tables, facts={"model_id": "other"})
"""


def test_kill_at_any_instant_leaves_one_whole_atlas(tmp_path, tables_of, facts):
    """Three seeded kills of a process that builds without pause."""
    path, source = tmp_path / "served" / "a.duckdb", tmp_path / "tables"
    source.mkdir()
    for name, frame in tables_of().items():
        frame.collect().write_parquet(source / f"{name}.parquet")
    build_atlas(path, tables_of(), facts=facts)
    whole = {**table_hashes(path)}
    moments = random.Random(0)
    for _ in range(3):
        builder = subprocess.Popen(
            [sys.executable, "-c", BUILD_FOR_EVER, str(source), str(path)], stdout=subprocess.PIPE
        )
        assert builder.stdout is not None
        builder.stdout.readline()
        time.sleep(moments.uniform(0, 0.5))  # the instant of the kill
        builder.send_signal(signal.SIGKILL)
        builder.wait()
        builder.stdout.close()
        found = table_hashes(path)
        assert {k: v for k, v in found.items() if k != "metadata"} == {
            k: v for k, v in whole.items() if k != "metadata"
        }
    build_atlas(path, tables_of(), facts=facts)
    assert table_hashes(path) == whole
    assert sorted(p.name for p in path.parent.iterdir()) == [".a.duckdb.lock", "a.duckdb"]


def test_the_file_is_plain_duckdb(built):
    with duckdb.connect(built, read_only=True) as plain:
        row = plain.execute("SELECT label FROM neurons WHERE neuron_id = 'L1/N3'").fetchall()
    assert row == [("says the capital of a state",)]


def test_derived_columns_of_neurons(built):
    with open_atlas(built) as atlas:
        row = atlas.sql("SELECT * FROM neurons WHERE neuron_id = 'L1/N3'").row(0, named=True)
        silent = atlas.sql("SELECT * FROM neurons WHERE neuron_id = 'L1/N5'").row(0, named=True)
    expected = {
        "polarity": 1, "label": "says the capital of a state", "output_labeler": "human", "output_interpretability": "high",
        "input_label": "fires on Oregon", "input_interpretability": "medium", "opposite_output_label": "promotes are",
        "promotes": [" Salem", " Boise"], "suppresses": [" are"], "appearance_count": 12, "n_prompts": 1, "der": pytest.approx(0.9),
        "max_activation": 5.0, "min_activation": -2.0, "cluster_path": "1.1", "top_cluster": 1, "hierarchy_depth": 2,
        "cluster_label": "geography circuit: Salem", "num_exemplars": 1, "output_norm": 2.5, "domain": "geography",
    }  # fmt: skip
    assert {k: row[k] for k in expected} == expected
    # In no graph, and its smallest activation outweighs its largest: its negative polarity speaks.
    assert (silent["polarity"], silent["label"]) == (-1, "promotes plural verbs: are, were")
    assert silent["cluster_path"] is None


def test_edges_in_the_documented_columns(built):
    with open_atlas(built) as atlas:
        row = atlas.sql("SELECT * FROM edges WHERE src_layer = 0 AND src_neuron = 2").row(0, named=True)
    # 4 instances of mean 2 and standard deviation 1/2: squares sum to 4 * (4 + 1/4).
    expected = {"tgt_layer": 1, "tgt_neuron": 3, "count": 4, "weight_sum": 8.0, "weight_abs_sum": 8.0, "weight_sq_sum": 17.0,
                "weight_min": 2.0, "weight_max": 2.0, "mean_weight": 2.0, "mean_abs_weight": 2.0}  # fmt: skip
    assert {k: row[k] for k in expected} == expected


def test_vocabulary_gathers_readable_tokens(built):
    with open_atlas(built) as atlas:
        known = dict(atlas.sql("SELECT token_id, token FROM vocabulary").iter_rows())
    assert known == {1: "<bos>", 2: " Oregon", 7: " Salem", 8: " Boise", 9: " are"}


def test_tables_outside_the_atlas_are_ignored(tmp_path, tables_of, facts):
    extra = {**tables_of(), "edge_sums": pl.LazyFrame({"anything": [1]})}
    assert "edge_sums" not in build_atlas(tmp_path / "a.duckdb", extra, facts=facts).rows
