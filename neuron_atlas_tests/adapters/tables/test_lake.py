"""A partition is published whole or not at all, and a damaged file is never read."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import shutil
import signal
from multiprocessing.synchronize import Event
from pathlib import Path

import polars as pl
import pytest

from neuron_atlas.adapters.tables import lake as lake_module
from neuron_atlas.adapters.tables.lake import Lake
from neuron_atlas.core.tables import CLUSTER_LABELS
from neuron_atlas.errors import BadInput, DamagedData, Incomplete, TransientError, UserError

ASSET = "cluster_labels"


def labels(*paths: str) -> dict[str, pl.DataFrame]:
    by = {"labeler": "rules", "version": "1", "is_best": True}
    rows = [{"path": p, **by, "label": f"module {p}", "tokens": [" a", " b"]} for p in paths]
    return {ASSET: pl.DataFrame(rows, schema=CLUSTER_LABELS.schema)}


def published(lake: Lake, partition: str | None = None) -> list[str]:
    return lake.scan(ASSET, [partition])[ASSET].collect()["path"].to_list()


def test_write_then_read_is_identity_and_publishing_again_changes_nothing(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    first = lake.publish(ASSET, None, labels("2", "1"), provenance={"code": "1"})
    frame = lake.scan(ASSET)[ASSET].collect()
    assert frame.equals(CLUSTER_LABELS.checked(labels("1", "2")[ASSET]))
    assert first.rows == 2
    again = lake.publish(ASSET, None, labels("1", "2"), provenance={"code": "1"})
    assert again == first


def test_partitions_are_replaced_one_by_one(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.publish(ASSET, "a", labels("1"))
    lake.publish(ASSET, "b", labels("2"))
    lake.publish(ASSET, "b", labels("3"))
    assert lake.partitions(ASSET) == ["a", "b"]
    assert sorted(lake.scan(ASSET)[ASSET].collect()["path"]) == ["1", "3"]


def test_an_asset_that_was_never_made_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(Incomplete, match=r"--select cluster_labels --partition a"):
        Lake(tmp_path).scan(ASSET, ["a"])


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "a b", ""])
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    if name:
        with pytest.raises(BadInput):
            Lake(tmp_path).publish(ASSET, name, labels("1"))


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.publish(ASSET, "a", labels("1"))
    (file,) = tmp_path.glob("cluster_labels/a/*/*.parquet")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(DamagedData, match="damaged"):
        lake.scan(ASSET, ["a"])
    lake.publish(ASSET, "a", labels("1"))
    assert published(lake, "a") == ["1"]


def test_a_failed_flush_publishes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake(tmp_path)
    lake.publish(ASSET, None, labels("1"))

    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        lake.publish(ASSET, None, labels("2"))
    monkeypatch.undo()
    assert published(lake) == ["1"]
    assert not list(tmp_path.rglob("*.tmp"))


def test_an_unwritable_home_is_a_user_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="NEURON_ATLAS_HOME"):
        Lake(tmp_path / "file" / "lake").publish(ASSET, None, labels("1"))


def _publish_and_die(root: Path, at: int) -> None:
    """Publish, killed at the `at`-th durable step."""
    steps = iter(range(at))

    def dying(original):
        def step(*arguments: object) -> object:
            if next(steps, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments)

        return step

    os.fsync, os.replace, os.rename = dying(os.fsync), dying(os.replace), dying(os.rename)
    Lake(root).publish(ASSET, "a", labels("new"))


@pytest.mark.parametrize("at", range(9))
def test_kill_at_any_step_leaves_the_old_partition_or_the_new_one(tmp_path: Path, at: int) -> None:
    Lake(tmp_path).publish(ASSET, "a", labels("old"))
    process = multiprocessing.get_context("spawn").Process(target=_publish_and_die, args=(tmp_path, at))
    process.start()
    process.join()
    assert published(Lake(tmp_path), "a") in (["old"], ["new"])
    Lake(tmp_path).publish(ASSET, "a", labels("new"))
    assert published(Lake(tmp_path), "a") == ["new"]


def test_one_worker_claims_a_partition(tmp_path: Path) -> None:
    one, two = Lake(tmp_path), lake_module.Lake(tmp_path)
    with one.claim(ASSET, "a"):
        with pytest.raises(TransientError, match="another process"), two.claim(ASSET, "a"):
            pass
        with two.claim(ASSET, "b"):
            pass
    with two.claim(ASSET, "a"):
        pass


def _claim_until_killed(root: Path, held: Event) -> None:
    with Lake(root).claim(ASSET, "a"):
        held.set()
        signal.pause()


def test_the_claim_of_a_killed_worker_is_free(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    process = context.Process(target=_claim_until_killed, args=(tmp_path, held))
    process.start()
    assert held.wait(60)
    with pytest.raises(TransientError, match="another process"), Lake(tmp_path).claim(ASSET, "a"):
        pass
    process.kill()
    process.join()
    with Lake(tmp_path).claim(ASSET, "a"):
        pass


def test_equal_content_is_left_where_it_is(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    first = lake.publish(ASSET, "a", labels("1"), provenance={"code": "1"})
    (file,) = tmp_path.glob("cluster_labels/a/*/*.parquet")
    inode = file.stat().st_ino
    second = lake.publish(ASSET, "a", labels("1"), provenance={"code": "2"})
    assert file.stat().st_ino == inode
    assert second == dataclasses.replace(first, provenance={"code": "2"})


def test_a_kill_while_equal_content_is_published_loses_nothing(tmp_path: Path) -> None:
    Lake(tmp_path).publish(ASSET, "a", labels("new"))
    for at in range(6):
        process = multiprocessing.get_context("spawn").Process(target=_publish_and_die, args=(tmp_path, at))
        process.start()
        process.join()
        assert published(Lake(tmp_path), "a") == ["new"]


def test_damaged_content_is_published_again_beside_the_damaged_files(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    first = lake.publish(ASSET, "a", labels("1"))
    flip_bit(tmp_path)
    second = lake.publish(ASSET, "a", labels("1"))
    assert lake.version(first) != lake.version(second)
    assert published(Lake(tmp_path), "a") == ["1"]


def test_a_version_that_was_replaced_stays_for_its_readers_and_goes_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(tmp_path)
    for path in ("1", "2", "3"):
        lake.publish(ASSET, "a", labels(path))
    assert len(versions(tmp_path)) == 3
    monkeypatch.setattr(lake_module, "READER_SECONDS", -1.0)
    kept = lake.publish(ASSET, "a", labels("4"))
    assert versions(tmp_path) == [kept.version]


def test_readers_beside_a_writer_never_fail(tmp_path: Path) -> None:
    """300 publishes of changing and equal content, while another process reads all the time."""
    lake = Lake(tmp_path)
    lake.publish(ASSET, "a", labels("0"))
    context = multiprocessing.get_context("spawn")
    stop, failures = context.Event(), context.Queue()
    reader = context.Process(target=_read_until, args=(tmp_path, stop, failures))
    reader.start()
    for n in range(300):
        lake.publish(ASSET, "a", labels(str(n // 3 % 2)))
    stop.set()
    reader.join()
    n_reads = failures.get()
    assert n_reads > 10
    assert failures.empty(), failures.get()


def _read_until(root: Path, stop, failures) -> None:
    reads, wrong = 0, []
    while not stop.is_set():
        try:
            assert published(Lake(root), "a") in (["0"], ["1"])
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            wrong.append(repr(error))
        reads += 1
    failures.put(reads)
    for text in wrong:
        failures.put(text)


def test_of_two_writers_one_wins_and_the_manifest_names_what_is_there(tmp_path: Path) -> None:
    """Two processes publish 60 times each, without a pause; every manifest on the way is whole."""
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_publish_often, args=(tmp_path, name, 60)) for name in ("x", "y")]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        if Lake(tmp_path).manifest(ASSET, "a") is not None:
            assert published(Lake(tmp_path), "a")[0][0] in "xy"
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert published(Lake(tmp_path), "a")[0] in ("x59", "y59")


def _publish_often(root: Path, name: str, times: int) -> None:
    for n in range(times):
        Lake(root).publish(ASSET, "a", labels(f"{name}{n}"))


def test_damage_is_found_cheaply_where_a_file_was_touched_and_thoroughly_everywhere(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.publish(ASSET, "a", labels("1"))
    assert lake.damage(ASSET, "a") is None
    (file,) = tmp_path.glob("cluster_labels/a/*/*.parquet")
    stat = file.stat()
    flip_bit(tmp_path)
    found = Lake(tmp_path).damage(ASSET, "a")
    assert found is not None
    assert "Make it again: neuron-atlas materialize cluster_labels --partition a" in found
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as silent as a disk's own fault
    assert Lake(tmp_path).damage(ASSET, "a") is None
    assert Lake(tmp_path).damage(ASSET, "a", thorough=True) is not None


def test_a_copied_lake_counts_as_sound(tmp_path: Path) -> None:
    Lake(tmp_path / "one").publish(ASSET, "a", labels("1"))
    shutil.copytree(tmp_path / "one", tmp_path / "two", copy_function=shutil.copy)  # other inodes and times
    assert Lake(tmp_path / "two").damage(ASSET, "a") is None
    assert published(Lake(tmp_path / "two"), "a") == ["1"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", "../../elsewhere"),
        ("version", 3),
        ("asset", "graph_stats"),
        ("partition", "b"),
        ("content_hash", ".."),
    ],
)
def test_a_manifest_of_something_else_or_that_leads_outside_is_damage(
    tmp_path: Path, field: str, value: object
) -> None:
    lake = Lake(tmp_path)
    lake.publish(ASSET, "a", labels("1"))
    file = tmp_path / ASSET / "a" / "manifest.json"
    file.write_text(
        json.dumps({**json.loads(file.read_text()), field: value, "version": value if field == "version" else ""})
    )
    with pytest.raises(DamagedData, match="cannot be read"):
        lake.scan(ASSET, ["a"])


@pytest.mark.parametrize("content", ["", "{", "[]", '{"asset": 1}', "\x00\xff"])
def test_a_torn_manifest_is_damage_that_publishing_heals(tmp_path: Path, content: str) -> None:
    lake = Lake(tmp_path)
    lake.publish(ASSET, "a", labels("1"))
    (tmp_path / ASSET / "a" / "manifest.json").write_text(content)
    assert "manifest.json cannot be read" in (lake.damage(ASSET, "a") or "")
    with pytest.raises(DamagedData, match="neuron-atlas materialize cluster_labels --partition a"):
        lake.scan(ASSET, ["a"])
    lake.publish(ASSET, "a", labels("1"))
    assert published(lake, "a") == ["1"]


def test_a_damaged_partition_is_set_aside_whole(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.publish(ASSET, "a", labels("1"))
    flip_bit(tmp_path)
    where = lake.set_aside(ASSET, "a")
    assert where is not None
    assert where.parent == tmp_path / ".damaged"
    assert (where / "manifest.json").exists()
    assert lake.manifest(ASSET, "a") is None
    assert lake.partitions(ASSET) == []


def flip_bit(root: Path) -> None:
    (file,) = root.glob("cluster_labels/a/*/*.parquet")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def versions(root: Path) -> list[str]:
    return sorted(folder.name for folder in (root / ASSET / "a").iterdir() if folder.is_dir())


def test_what_another_process_has_healed_is_not_set_aside(tmp_path: Path) -> None:
    one, two = Lake(tmp_path), Lake(tmp_path)
    one.publish(ASSET, "a", labels("1"))
    flip_bit(tmp_path)
    assert one.damage(ASSET, "a") is not None
    assert two.damage(ASSET, "a") is not None
    assert one.set_aside(ASSET, "a") is not None
    assert two.set_aside(ASSET, "a") is None  # nothing is there
    one.publish(ASSET, "a", labels("1"))
    assert two.set_aside(ASSET, "a") is None
    assert published(Lake(tmp_path), "a") == ["1"]
