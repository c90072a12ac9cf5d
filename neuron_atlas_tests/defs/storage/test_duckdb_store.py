"""What only the DuckDB file has to prove: one process at a time, nothing outside the file, files that are not its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from dagster_duckdb import DuckDBResource

from neuron_atlas.defs.storage.stores import DuckDBStore
from neuron_atlas.errors import DamagedData, Incomplete, PermanentError, TransientError, UserError

HOLDER = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resource tries a busy file ten times with growing pauses."""
    monkeypatch.setattr("dagster._utils.backoff.time.sleep", lambda seconds: None)


def store(file: Path) -> DuckDBStore:
    return DuckDBStore(DuckDBResource(database=str(file)))


def execute(file: Path, statement: str) -> object:
    return store(file).run(lambda tables: tables.connection.execute(statement).fetchone())


def test_a_file_in_use_by_another_process_is_transient(tmp_path: Path) -> None:
    file = tmp_path / "tables.duckdb"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(TransientError, match=r"in use by another process.*PID"):
            execute(file, "select 1")
        holder.communicate()
    assert execute(file, "select 1") == (1,)


def test_a_file_that_is_not_duckdbs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.duckdb").write_text("not a database" * 1000)
    with pytest.raises(DamagedData, match="neuron-atlas materialize"):
        execute(tmp_path / "x.duckdb", "select 1")


def test_reading_what_is_not_there_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(Incomplete, match="materialize"):
        store(tmp_path / "x.duckdb").read("cluster_labels", [None])
    assert store(tmp_path / "x.duckdb").find("cluster_labels", None) is None
    assert list(tmp_path.iterdir()) == []


def test_nothing_outside_the_file_can_be_reached(tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    with pytest.raises(PermanentError, match="disabled"):
        execute(tmp_path / "x.duckdb", f"select * from read_csv('{tmp_path}/secret.csv')")


def test_a_folder_that_cannot_be_made_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot create .*/file.*NEURON_ATLAS_HOME"):
        execute(tmp_path / "file" / "x.duckdb", "select 1")
