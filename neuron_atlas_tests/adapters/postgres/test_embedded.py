"""The embedded server: shared by processes, stopped by the last, recovered after any kill."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from neuron_atlas.adapters.postgres import is_running, start_embedded, stop_embedded
from neuron_atlas.adapters.postgres.embedded import SOCKET_PATH_BYTES
from neuron_atlas.errors import BadInput, DamagedData, TransientError

USER_OF_SERVER = """
import sys
from pathlib import Path
from neuron_atlas.adapters.postgres import start_embedded
server = start_embedded(Path(sys.argv[1]))
print(server.host, flush=True)
if len(sys.argv) > 2:
    sys.stdin.read()
"""


@pytest.fixture
def folder(outside: Path) -> Iterator[Path]:
    """A folder whose server is not running; the cluster in it is made by the first test that needs one."""
    yield outside / "shared"
    stop_embedded(outside / "shared")


@pytest.fixture
def new_folder(outside: Path) -> Iterator[Path]:
    """A folder with nothing in it."""
    folder = outside / uuid.uuid4().hex[:8]
    yield folder
    stop_embedded(folder)


def start_process(folder: Path, *, stays: bool) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", USER_OF_SERVER, str(folder), *(["stay"] if stays else [])]
    return subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def pid_of(folder: Path) -> int:
    return int((folder / "data" / "postmaster.pid").read_text().splitlines()[0])


def test_processes_share_one_server_and_the_last_to_leave_stops_it(folder: Path) -> None:
    with start_process(folder, stays=True) as first:
        assert first.stdout is not None
        address = first.stdout.readline().strip()
        with start_process(folder, stays=False) as second:
            out, _ = second.communicate()
        assert out.strip() == address
        assert is_running(folder)  # the second left, the first still uses it
        first.communicate()
    assert not is_running(folder)


def test_a_killed_user_neither_stops_the_server_nor_keeps_it_up_for_ever(folder: Path) -> None:
    with start_process(folder, stays=True) as killed:
        assert killed.stdout is not None
        killed.stdout.readline()
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    assert is_running(folder)  # orphaned
    with start_process(folder, stays=False) as last:
        last.communicate()
    assert not is_running(folder)


def test_a_server_kept_running_outlives_its_users_until_it_is_stopped(folder: Path) -> None:
    program = USER_OF_SERVER.replace("sys.argv[1])", "sys.argv[1]), keep_running=True", 1)
    subprocess.run([sys.executable, "-c", program, str(folder)], check=True, capture_output=True)
    assert is_running(folder)
    assert stop_embedded(folder) is True
    assert not is_running(folder)
    assert stop_embedded(folder) is False


def test_what_was_committed_survives_a_kill_of_the_server(folder: Path) -> None:
    server = start_embedded(folder)
    with server.connect() as connection:
        connection.execute("create table kept (n int)")
        connection.execute("insert into kept values (7)")
    process = psutil.Process(pid_of(folder))
    process.kill()
    process.wait(timeout=10)
    with start_embedded(folder).connect() as connection:
        assert connection.execute("select n from kept").fetchall() == [(7,)]
        connection.execute("drop table kept")


def test_a_pid_file_whose_number_another_program_has_now_is_overruled(folder: Path) -> None:
    start_embedded(folder)
    lines = (folder / "data" / "postmaster.pid").read_text().splitlines()
    stop_embedded(folder)
    (folder / "data" / "postmaster.pid").write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    assert not is_running(folder)
    with start_embedded(folder).connect() as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def copied(folder: Path, target: Path) -> Path:
    """A copy as `cp -a` makes it, of a folder whose server runs."""
    subprocess.run(["cp", "-a", str(folder), str(target)], check=True)
    return target


def test_a_copy_of_a_folder_in_use_gets_a_server_of_its_own(folder: Path, new_folder: Path) -> None:
    with start_embedded(folder).connect() as connection:
        connection.execute("create table if not exists which (name text)")
        connection.execute("insert into which values ('original')")
    with start_embedded(folder).connect(autocommit=True) as connection:
        connection.execute("checkpoint")
    copy = copied(folder, new_folder)
    assert is_running(folder)
    assert not is_running(copy)
    with start_embedded(copy).connect() as connection:
        assert connection.execute("select name from which").fetchall() == [("original",)]
        connection.execute("update which set name = 'copy'")
    assert pid_of(copy) != pid_of(folder)
    assert stop_embedded(copy)
    assert is_running(folder)
    with start_embedded(folder).connect() as connection:
        assert connection.execute("select name from which").fetchall() == [("original",)]
        connection.execute("drop table which")


def test_stopping_a_copy_that_never_ran_leaves_the_original_alone(folder: Path, new_folder: Path) -> None:
    start_embedded(folder)
    copy = copied(folder, new_folder)
    assert not stop_embedded(copy)
    assert is_running(folder)


def test_a_folder_that_is_moved_while_its_server_runs_keeps_it(new_folder: Path) -> None:
    start_embedded(new_folder)
    pid = pid_of(new_folder)
    moved = new_folder.with_name(f"{new_folder.name}-moved")
    new_folder.rename(moved)
    try:
        server = start_embedded(moved)
        assert pid_of(moved) == pid
        with server.connect() as connection:
            assert connection.execute("select 1").fetchone() == (1,)
    finally:
        assert stop_embedded(moved)
    assert not is_running(moved)


def test_a_pid_file_that_names_the_server_of_another_folder_is_overruled(folder: Path, new_folder: Path) -> None:
    start_embedded(folder)
    start_embedded(new_folder)
    stop_embedded(new_folder)
    shutil.copy(folder / "data" / "postmaster.pid", new_folder / "data" / "postmaster.pid")
    assert not is_running(new_folder)
    assert not stop_embedded(new_folder)
    assert is_running(folder)
    assert pid_of(folder) != (start_embedded(new_folder), pid_of(new_folder))[1]


def test_a_server_whose_process_cannot_be_seen_is_used_but_not_stopped(folder: Path) -> None:
    """As from another container that shares the folder: its process ids mean nothing here."""
    server = start_embedded(folder)
    pid_file = folder / "data" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join(["999999999", *lines[1:]]) + "\n")
    try:
        assert is_running(folder)
        assert start_embedded(folder) == server
        with pytest.raises(TransientError, match="another container"):
            stop_embedded(folder)
    finally:
        pid_file.write_text("\n".join(lines) + "\n")


def test_a_new_folder_at_the_place_of_a_moved_one_shares_nothing_with_it(outside: Path) -> None:
    """Paths so long that the sockets lie elsewhere."""
    folder = outside / ("long" * 30)
    moved = outside / ("moved" * 25)
    with start_embedded(folder, keep_running=True).connect() as connection:
        connection.execute("create table mine (n int)")
    folder.rename(moved)
    try:
        with start_embedded(folder).connect() as connection:
            assert connection.execute("select to_regclass('mine')").fetchone() == (None,)
        assert stop_embedded(folder)
        with start_embedded(moved).connect() as connection:
            assert connection.execute("select count(*) from mine").fetchone() == (0,)
    finally:
        stop_embedded(folder)
        stop_embedded(moved)


def test_threads_that_start_it_at_once_get_the_same_server(new_folder: Path) -> None:
    folder = new_folder
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(start_embedded(folder).host)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [str(folder / "data")] * 4


def test_only_its_owner_may_open_the_socket_and_no_port_is_open(folder: Path) -> None:
    server = start_embedded(folder)
    assert (Path(server.host) / ".s.PGSQL.5432").stat().st_mode & 0o777 == 0o700
    with server.connect() as connection:
        assert connection.execute("show listen_addresses").fetchone() == ("",)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of another user")
def test_a_cluster_that_root_copied_is_given_back_to_its_user(folder: Path, new_folder: Path) -> None:
    start_embedded(folder)
    owner = (folder / "data").stat().st_uid
    stop_embedded(folder)
    shutil.copytree(folder / "data", new_folder / "data")
    assert (new_folder / "data").stat().st_uid == 0 != owner
    with start_embedded(new_folder).connect() as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    assert {path.stat().st_uid for path in (new_folder / "data").rglob("*")} == {owner}


def test_a_path_too_long_for_a_socket_gets_a_short_private_one(new_folder: Path) -> None:
    folder = new_folder / ("deep" * 20) / "pg"
    try:
        server = start_embedded(folder)
        assert len(server.host) < SOCKET_PATH_BYTES
        assert Path(server.host).stat().st_mode & 0o777 == 0o700
        with server.connect() as connection:
            assert connection.execute("select 1").fetchone() == (1,)
    finally:
        stop_embedded(folder)
        assert not Path(server.host).exists()


def test_a_folder_that_cannot_be_made_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInput, match=r"cannot write in .*/file/pg.*NEURON_ATLAS_HOME"):
        start_embedded(tmp_path / "file" / "pg")


def test_a_cluster_of_another_version_is_refused(tmp_path: Path) -> None:
    folder = tmp_path
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "PG_VERSION").write_text("16\n")
    with pytest.raises(BadInput, match="made by PostgreSQL 16, this is 18"):
        start_embedded(folder)


def test_a_folder_that_is_no_cluster_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "precious").write_text("mine")
    with pytest.raises(DamagedData, match="not a PostgreSQL cluster"):
        start_embedded(folder)
    assert (folder / "data" / "precious").read_text() == "mine"
