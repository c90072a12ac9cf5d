"""A partition is published whole or not at all, and a damaged file is never read."""

from __future__ import annotations

import multiprocessing
import os
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
